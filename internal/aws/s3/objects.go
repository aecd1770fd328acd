package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/policy"
)

const (
	maxKey      = 1024
	maxMetadata = 2 << 10
	maxPut      = 5 << 30 // of one PutObject, UploadPart or CopyObject
)

func quoted(etag string) string { return `"` + etag + `"` }

// stat finds the bucket and a version of an object, which is not a delete marker.
func (s *Service) stat(c *service.Call, name, key, version, owner string) (*Bucket, *data.Object, error) {
	b, err := bucket(c, name, owner)
	if err != nil {
		return nil, nil, err
	}
	o, err := s.data.Stat(b.ID, key, version)
	if err != nil {
		return nil, nil, missing(c, b, key, version, err)
	}
	if o.DeleteMarker {
		return nil, nil, deleted(c, b, key, version)
	}
	return b, o, nil
}

// missing is the answer where an object was not found. That it does not exist is told
// to those who may list the bucket; others are refused.
func missing(c *service.Call, b *Bucket, key, version string, err error) error {
	switch {
	case errors.Is(err, data.ErrNoBucket):
		return noSuchBucket(b.Name)
	case errors.Is(err, data.ErrNoVersion) && !data.ValidVersion(version):
		return invalidVersion(version)
	case errors.Is(err, data.ErrNoVersion):
		if err := mayList(c, b); err != nil {
			return err
		}
		return api.NoSuchVersion("The specified version does not exist.").With("Key", key).With("VersionId", version)
	case errors.Is(err, data.ErrNoKey):
		if err := mayList(c, b); err != nil {
			return err
		}
		return noSuchKey(key)
	}
	return err
}

func mayList(c *service.Call, b *Bucket) error {
	return c.Authorize("s3:ListBucket", arn.ARN(b.arn()))
}

func noSuchKey(key string) *wire.Error {
	return api.NoSuchKey("The specified key does not exist.").With("Key", key)
}

func invalidVersion(version string) *wire.Error {
	return api.InvalidArgument("Invalid version id specified").With("ArgumentName", "versionId").With("ArgumentValue", version)
}

// deleted is the answer where a delete marker was found: no such key, or, to those who
// name the marker's version, that it cannot be read.
func deleted(c *service.Call, b *Bucket, key, version string) error {
	if version == "" {
		return missing(c, b, key, "", data.ErrNoKey)
	}
	return api.MethodNotAllowed("The specified method is not allowed against this resource.").With("Method", "GET").With("ResourceType", "DeleteMarker")
}

// failed is the answer to a write that the data store did not make.
func failed(b *Bucket, key string, err error) error {
	switch {
	case errors.Is(err, data.ErrNoBucket):
		return noSuchBucket(b.Name)
	case errors.Is(err, data.ErrNoKey):
		return noSuchKey(key)
	case errors.Is(err, data.ErrFull):
		return &wire.Error{Code: "InsufficientStorage", Status: http.StatusInsufficientStorage, Message: "There is no space left to store the object."}
	}
	return err
}

// A making is what PutObject, CopyObject and CreateMultipartUpload say alike of the
// object to be made.
type making struct {
	key                                           string
	contentType, cacheControl, contentDisposition string
	contentEncoding, contentLanguage, expires     string
	redirect, storageClass, encryption, tagging   string
	metadata                                      map[string]string
	acl                                           asked
	customerKey, kmsKey                           string
	lockMode, legalHold                           string
	lockUntil                                     time.Time
}

// object checks what was said and returns the object without its body.
func (m *making) object(c *service.Call, b *Bucket) (*data.Object, error) {
	if len(m.key) > maxKey {
		return nil, api.KeyTooLongError("Your key is too long").With("Size", strconv.Itoa(len(m.key))).With("MaxSizeAllowed", strconv.Itoa(maxKey))
	}
	if m.acl.canned != "" || m.acl.grants != "" {
		if err := m.acl.answer(c, b, "s3:PutObjectAcl", b.arn()+"/"+m.key); err != nil {
			return nil, err
		}
	}
	switch {
	case m.customerKey != "":
		return nil, notImplemented("x-amz-server-side-encryption-customer-algorithm")
	case m.encryption != "" && m.encryption != aes256:
		return nil, notImplemented("x-amz-server-side-encryption")
	case m.kmsKey != "":
		return nil, notImplemented("x-amz-server-side-encryption-aws-kms-key-id")
	case m.lockMode != "" || m.legalHold != "" || !m.lockUntil.IsZero():
		return nil, api.InvalidRequest("Bucket is missing Object Lock Configuration")
	}
	switch m.storageClass {
	case "":
		m.storageClass = "STANDARD"
	case "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR":
	default: // there is nothing to restore from
		return nil, api.InvalidStorageClass("The storage class you specified is not valid").With("StorageClassRequested", m.storageClass)
	}
	size := 0
	for k, v := range m.metadata {
		size += len(k) + len(v)
	}
	if size > maxMetadata {
		return nil, api.MetadataTooLarge("Your metadata headers exceed the maximum allowed metadata size").With("Size", strconv.Itoa(size)).With("MaxSizeAllowed", strconv.Itoa(maxMetadata))
	}
	if r := m.redirect; r != "" && !strings.HasPrefix(r, "/") && !strings.HasPrefix(r, "http://") && !strings.HasPrefix(r, "https://") {
		return nil, &wire.Error{Code: "InvalidRedirectLocation", Message: "The website redirect location must have a prefix of 'http://' or 'https://' or '/'."}
	}
	tags, err := parseTagging(m.tagging)
	if err != nil {
		return nil, err
	}
	o := &data.Object{
		Key: m.key, Modified: c.Time.Truncate(time.Second).UTC(),
		ContentType: m.contentType, CacheControl: m.cacheControl, ContentDisposition: m.contentDisposition,
		ContentEncoding: withoutChunked(m.contentEncoding), ContentLanguage: m.contentLanguage, Expires: m.expires,
		WebsiteRedirect: m.redirect, StorageClass: m.storageClass, Encryption: aes256, Tags: tags,
	}
	if len(m.metadata) > 0 {
		o.Metadata = make(map[string]string, len(m.metadata))
		for k, v := range m.metadata {
			o.Metadata[strings.ToLower(k)] = v
		}
	}
	return o, nil
}

// withoutChunked takes aws-chunked, which is a coding of the request only, out of a
// Content-Encoding.
func withoutChunked(encoding string) string {
	if !strings.Contains(encoding, "aws-chunked") {
		return encoding
	}
	var rest []string
	for e := range strings.SplitSeq(encoding, ",") {
		if e = strings.TrimSpace(e); e != "" && e != "aws-chunked" {
			rest = append(rest, e)
		}
	}
	return strings.Join(rest, ",")
}

// taggable reports whether a tag may have the text.
func taggable(s string) bool {
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.Is(unicode.Z, r) && !strings.ContainsRune("_.:/=+-@", r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// parseTagging reads x-amz-tagging: tags as the parameters of a query.
func parseTagging(header string) ([]data.Tag, error) {
	var tags []data.Tag
	for pair := range strings.SplitSeq(header, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		key, err1 := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		for _, t := range tags {
			if t.Key == key {
				err1 = errors.New("repeated")
			}
		}
		if err1 != nil || err2 != nil {
			return nil, api.InvalidArgument("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.").
				With("ArgumentName", "x-amz-tagging").With("ArgumentValue", header)
		}
		tags = append(tags, data.Tag{Key: key, Value: value})
	}
	return tags, objectTags(tags)
}

func objectTags(tags []data.Tag) error {
	if len(tags) > 10 {
		return &wire.Error{Code: "BadRequest", Message: "Object tags cannot be greater than 10"}
	}
	return validTags(tags)
}

// sentChecksum returns the name of the algorithm in which a body comes with a checksum.
// Of one that comes with none the pipeline takes CRC64NVME.
func sentChecksum(c *service.Call, in any) string {
	if sum := checksumIn(in); sum.Algorithm != "" {
		return sum.Algorithm
	}
	if c.Source.Headers != nil {
		if name, ok := strings.CutPrefix(lower(c.Source.Headers("X-Amz-Trailer")), "x-amz-checksum-"); ok {
			return strings.ToUpper(strings.TrimSpace(name))
		}
	}
	return crc64nvme
}

func lower(s string) string { return strings.ToLower(s) }

// receive writes a body aside, with a checksum in the algorithm, and holds it to the
// checksum that came with it.
func (s *Service) receive(c *service.Call, body io.Reader, length *int64, want *algorithm, in any) (data.Part, error) {
	if body == nil {
		body = strings.NewReader("")
	}
	if length != nil && *length > maxPut {
		return data.Part{}, tooLarge(*length)
	}
	summer := newSummer(body, want, sentChecksum(c, in))
	limited := &io.LimitedReader{R: summer, N: maxPut + 1}
	p, err := s.data.Write(limited)
	if err != nil {
		return p, err
	}
	if p.Size > maxPut {
		s.data.Discard(p)
		return p, tooLarge(p.Size)
	}
	p.Checksum = data.Checksum{Algorithm: want.name, Value: summer.value(), Type: fullObject}
	p.Modified = c.Time.Truncate(time.Second).UTC()
	if given := checksumIn(in); given.Algorithm == want.name && given.Value != p.Checksum.Value {
		s.data.Discard(p)
		return p, badChecksum(want.name)
	}
	return p, nil
}

func badChecksum(algorithm string) *wire.Error {
	return api.BadDigest("The %s you specified did not match the calculated checksum.", algorithm)
}

func tooLarge(size int64) *wire.Error {
	return api.EntityTooLarge("Your proposed upload exceeds the maximum allowed size").With("ProposedSize", strconv.FormatInt(size, 10)).With("MaxSizeAllowed", strconv.Itoa(maxPut))
}

func (s *Service) putObject(ctx context.Context, c *service.Call, in *api.PutObjectInput) (*api.PutObjectOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if in.WriteOffsetBytes != nil {
		return nil, notImplemented("x-amz-write-offset-bytes")
	}
	check, err := writeConditions(in.Key, in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	m := making{
		key: in.Key, contentType: in.ContentType, cacheControl: in.CacheControl, contentDisposition: in.ContentDisposition,
		contentEncoding: in.ContentEncoding, contentLanguage: in.ContentLanguage, expires: in.Expires,
		redirect: in.WebsiteRedirectLocation, storageClass: in.StorageClass, encryption: in.ServerSideEncryption, tagging: in.Tagging, metadata: in.Metadata,
		acl:         asked{canned: in.ACL, grants: in.GrantFullControl + in.GrantRead + in.GrantReadACP + in.GrantWriteACP},
		customerKey: in.SSECustomerAlgorithm + in.SSECustomerKey, kmsKey: in.SSEKMSKeyId,
		lockMode: in.ObjectLockMode, legalHold: in.ObjectLockLegalHoldStatus, lockUntil: in.ObjectLockRetainUntilDate,
	}
	o, err := m.object(c, b)
	if err != nil {
		return nil, err
	}
	want, err := algorithmOf(sentChecksum(c, in))
	if err != nil {
		return nil, err
	}
	part, err := s.receive(c, in.Body, in.ContentLength, want, in)
	if err != nil {
		return nil, failed(b, in.Key, err)
	}
	o.Size, o.ETag, o.Checksum, o.Parts = part.Size, part.ETag, part.Checksum, []data.Part{part}
	if err := s.data.Put(b.ID, o, b.versioning(), check); err != nil {
		s.data.Discard(part)
		return nil, failed(b, in.Key, err)
	}
	out := &api.PutObjectOutput{ETag: quoted(o.ETag), VersionId: b.shownVersion(o.VersionID), ServerSideEncryption: o.Encryption}
	setChecksum(out, o.Checksum)
	return out, nil
}

func (s *Service) getObject(ctx context.Context, c *service.Call, in *api.GetObjectInput) (*api.GetObjectOutput, error) {
	if in.SSECustomerAlgorithm != "" {
		return nil, notEncryptedSo()
	}
	return s.read(c, in)
}

// A HEAD is a GET whose body is not sent.
func (s *Service) headObject(ctx context.Context, c *service.Call, in *api.HeadObjectInput) (*api.HeadObjectOutput, error) {
	if in.SSECustomerAlgorithm != "" {
		return nil, notEncryptedSo()
	}
	out, err := s.read(c, &api.GetObjectInput{
		Bucket: in.Bucket, Key: in.Key, VersionId: in.VersionId, ExpectedBucketOwner: in.ExpectedBucketOwner,
		IfMatch: in.IfMatch, IfNoneMatch: in.IfNoneMatch, IfModifiedSince: in.IfModifiedSince, IfUnmodifiedSince: in.IfUnmodifiedSince,
		Range: in.Range, PartNumber: in.PartNumber, ChecksumMode: in.ChecksumMode,
		ResponseCacheControl: in.ResponseCacheControl, ResponseContentDisposition: in.ResponseContentDisposition,
		ResponseContentEncoding: in.ResponseContentEncoding, ResponseContentLanguage: in.ResponseContentLanguage,
		ResponseContentType: in.ResponseContentType, ResponseExpires: in.ResponseExpires,
	})
	if err != nil {
		return nil, err
	}
	out.Body.Close()
	return &api.HeadObjectOutput{
		AcceptRanges: out.AcceptRanges, LastModified: out.LastModified, ContentLength: out.ContentLength, ETag: out.ETag, VersionId: out.VersionId,
		ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC32C: out.ChecksumCRC32C, ChecksumCRC64NVME: out.ChecksumCRC64NVME, ChecksumSHA1: out.ChecksumSHA1,
		ChecksumSHA256: out.ChecksumSHA256, ChecksumSHA512: out.ChecksumSHA512, ChecksumMD5: out.ChecksumMD5, ChecksumType: out.ChecksumType,
		CacheControl: out.CacheControl, ContentDisposition: out.ContentDisposition, ContentEncoding: out.ContentEncoding,
		ContentLanguage: out.ContentLanguage, ContentType: out.ContentType, ContentRange: out.ContentRange, Expires: out.Expires,
		WebsiteRedirectLocation: out.WebsiteRedirectLocation, ServerSideEncryption: out.ServerSideEncryption, Metadata: out.Metadata,
		StorageClass: out.StorageClass, PartsCount: out.PartsCount, TagCount: out.TagCount,
	}, nil
}

func notEncryptedSo() *wire.Error {
	return api.InvalidRequest("The encryption parameters are not applicable to this object.")
}

// anonymousOverrides refuses the headers that only a signed GET may ask for.
func anonymousOverrides(c *service.Call, in *api.GetObjectInput) error {
	overridden := in.ResponseCacheControl + in.ResponseContentDisposition + in.ResponseContentEncoding + in.ResponseContentLanguage + in.ResponseContentType
	if c.Account == "" && (overridden != "" || !in.ResponseExpires.IsZero()) {
		return api.InvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
	}
	return nil
}

// read is GetObject.
func (s *Service) read(c *service.Call, in *api.GetObjectInput) (*api.GetObjectOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if err := anonymousOverrides(c, in); err != nil {
		return nil, err
	}
	o, content, err := s.data.Open(b.ID, in.Key, in.VersionId)
	if err != nil {
		return nil, missing(c, b, in.Key, in.VersionId, err)
	}
	out, err := s.answer(c, b, in, o, content)
	if err != nil {
		content.Close()
		return nil, err
	}
	return out, nil
}

func (s *Service) answer(c *service.Call, b *Bucket, in *api.GetObjectInput, o *data.Object, content *data.Content) (*api.GetObjectOutput, error) {
	if o.DeleteMarker {
		return nil, deleted(c, b, in.Key, in.VersionId)
	}
	if err := readConditions(o, in.IfMatch, in.IfNoneMatch, in.IfModifiedSince, in.IfUnmodifiedSince); err != nil {
		return nil, err
	}
	out := &api.GetObjectOutput{
		Body: content, AcceptRanges: "bytes", LastModified: o.Modified, ContentLength: o.Size, ETag: quoted(o.ETag), VersionId: b.shownVersion(o.VersionID),
		CacheControl: o.CacheControl, ContentDisposition: o.ContentDisposition, ContentEncoding: o.ContentEncoding,
		ContentLanguage: o.ContentLanguage, ContentType: o.ContentType, Expires: o.Expires,
		WebsiteRedirectLocation: o.WebsiteRedirect, ServerSideEncryption: o.Encryption, Metadata: o.Metadata,
	}
	if out.ContentType == "" {
		out.ContentType = "binary/octet-stream"
	}
	if o.StorageClass != "STANDARD" {
		out.StorageClass = o.StorageClass
	}
	off, length, partial := int64(0), o.Size, false
	var err error
	sum := o.Checksum
	switch {
	case in.PartNumber != nil && in.Range != "":
		return nil, api.InvalidRequest("Cannot specify both Range header and partNumber query parameter")
	case in.PartNumber != nil:
		var part data.Part
		if off, part, err = partOf(o, int(*in.PartNumber)); err != nil {
			return nil, err
		}
		length, partial, sum = part.Size, true, part.Checksum
		if o.UploadID != "" {
			out.PartsCount = int32(len(o.Parts))
		}
	case in.Range != "":
		if off, length, partial, err = parseRange(in.Range, o.Size); err != nil {
			return nil, err
		}
	}
	if partial {
		content.Section(off, length)
		out.ContentLength = length
		if o.Size > 0 {
			out.ContentRange = "bytes " + strconv.FormatInt(off, 10) + "-" + strconv.FormatInt(off+length-1, 10) + "/" + strconv.FormatInt(o.Size, 10)
		}
	}
	if in.ChecksumMode == "ENABLED" && (!partial || in.PartNumber != nil || length == o.Size) {
		setChecksum(out, sum)
	}
	if len(o.Tags) > 0 && c.May(tagging(in.VersionId), arn.ARN(b.arn()+"/"+in.Key)) {
		out.TagCount = int32(len(o.Tags))
	}
	for _, r := range []struct {
		to   *string
		from string
	}{
		{&out.CacheControl, in.ResponseCacheControl}, {&out.ContentDisposition, in.ResponseContentDisposition},
		{&out.ContentEncoding, in.ResponseContentEncoding}, {&out.ContentLanguage, in.ResponseContentLanguage},
		{&out.ContentType, in.ResponseContentType},
	} {
		if r.from != "" {
			*r.to = r.from
		}
	}
	if !in.ResponseExpires.IsZero() {
		out.Expires = in.ResponseExpires.UTC().Format(http.TimeFormat)
	}
	return out, nil
}

// tagging is the action of reading an object's tags.
func tagging(version string) policy.Action {
	if version != "" {
		return "s3:GetObjectVersionTagging"
	}
	return "s3:GetObjectTagging"
}

// partOf finds a part by its place, which is its number in a body that was uploaded
// with parts from 1 on.
func partOf(o *data.Object, number int) (off int64, p data.Part, err error) {
	if number < 1 || number > maxParts {
		return 0, p, invalidPartNumber(number)
	}
	if o.UploadID == "" && number == 1 {
		return 0, data.Part{Size: o.Size, Checksum: o.Checksum}, nil
	}
	if o.UploadID == "" || number > len(o.Parts) {
		return 0, p, &wire.Error{Code: "InvalidPartNumber", Status: 416, Message: "The requested partnumber is not satisfiable",
			Fields: []wire.Field{{Name: "PartNumberRequested", Value: strconv.Itoa(number)}, {Name: "ActualPartCount", Value: strconv.Itoa(max(len(o.Parts), 1))}}}
	}
	for _, before := range o.Parts[:number-1] {
		off += before.Size
	}
	return off, o.Parts[number-1], nil
}

func (s *Service) getObjectAttributes(ctx context.Context, c *service.Call, in *api.GetObjectAttributesInput) (*api.GetObjectAttributesOutput, error) {
	b, o, err := s.stat(c, in.Bucket, in.Key, in.VersionId, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	out := &api.GetObjectAttributesOutput{LastModified: o.Modified, VersionId: b.shownVersion(o.VersionID)}
	for _, asked := range in.ObjectAttributes {
		for name := range strings.SplitSeq(asked, ",") {
			switch strings.TrimSpace(name) {
			case "ETag":
				out.ETag = o.ETag
			case "ObjectSize":
				out.ObjectSize = &o.Size
			case "StorageClass":
				out.StorageClass = o.StorageClass
			case "Checksum":
				out.Checksum = &api.Checksum{}
				setChecksum(out.Checksum, o.Checksum)
			case "ObjectParts":
				if o.UploadID != "" {
					out.ObjectParts = attributesOfParts(in, o)
				}
			default:
				return nil, api.InvalidArgument("Invalid attribute name specified.").With("ArgumentName", "x-amz-object-attributes").With("ArgumentValue", name)
			}
		}
	}
	return out, nil
}

func attributesOfParts(in *api.GetObjectAttributesInput, o *data.Object) *api.GetObjectAttributesParts {
	out := &api.GetObjectAttributesParts{TotalPartsCount: int32(len(o.Parts)), MaxParts: 1000}
	if in.MaxParts != nil && *in.MaxParts >= 0 && *in.MaxParts < out.MaxParts {
		out.MaxParts = *in.MaxParts
	}
	if in.PartNumberMarker != nil {
		out.PartNumberMarker = *in.PartNumberMarker
	}
	for i := range o.Parts {
		p := &o.Parts[i]
		if p.Number <= int(out.PartNumberMarker) {
			continue
		}
		if len(out.Parts) == int(out.MaxParts) {
			out.IsTruncated = true
			break
		}
		shown := api.ObjectPart{PartNumber: int32(p.Number), Size: p.Size}
		setChecksum(&shown, p.Checksum)
		out.Parts = append(out.Parts, shown)
		out.NextPartNumberMarker = int32(p.Number)
	}
	return out
}

// comparesETag reports whether a deletion depends on an entity tag and not just on
// that there is an object.
func comparesETag(_ *service.Call, in *api.DeleteObjectInput) bool {
	return in.IfMatch != "" && in.IfMatch != "*"
}

func (s *Service) deleteObject(ctx context.Context, c *service.Call, in *api.DeleteObjectInput) (*api.DeleteObjectOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	switch {
	case in.VersionId != "" && !data.ValidVersion(in.VersionId):
		return nil, invalidVersion(in.VersionId)
	case !in.IfMatchLastModifiedTime.IsZero():
		return nil, notImplemented("x-amz-if-match-last-modified-time") // of directory buckets
	case in.IfMatchSize != nil:
		return nil, notImplemented("x-amz-if-match-size")
	}
	var check data.Check
	if in.IfMatch != "" {
		check = matches(in.Key, in.IfMatch)
	}
	o, err := s.data.Delete(b.ID, in.Key, in.VersionId, b.versioning(), c.Time.Truncate(time.Second).UTC(), check)
	if err != nil {
		return nil, failed(b, in.Key, err)
	}
	out := &api.DeleteObjectOutput{VersionId: in.VersionId}
	if o != nil && o.DeleteMarker {
		out.DeleteMarker, out.VersionId = true, o.VersionID
	}
	return out, nil
}

// each is no resource: DeleteObjects asks for each of its objects.
func each(*service.Call, *api.DeleteObjectsInput) []service.Target { return nil }

func (s *Service) deleteObjects(ctx context.Context, c *service.Call, in *api.DeleteObjectsInput) (*api.DeleteObjectsOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if n := len(in.Delete.Objects); n == 0 || n > 1000 {
		return nil, malformedXML()
	}
	out := &api.DeleteObjectsOutput{}
	refuse := func(id *api.ObjectIdentifier, err error) error {
		var e *wire.Error
		if !errors.As(err, &e) {
			return err
		}
		out.Errors = append(out.Errors, api.Error{Key: id.Key, VersionId: id.VersionId, Code: e.Code, Message: e.Message})
		return nil
	}
	var deletions []data.Deletion
	var ids []*api.ObjectIdentifier
	for i := range in.Delete.Objects {
		id := &in.Delete.Objects[i]
		action, keys := policy.Action("s3:DeleteObject"), []service.Pair(nil)
		if id.VersionId != "" {
			action, keys = "s3:DeleteObjectVersion", append(keys, service.Is("s3:versionid", id.VersionId))
		}
		if id.ETag != "" {
			keys = append(keys, service.Is("s3:if-match", id.ETag))
		}
		err := c.Authorize(action, arn.ARN(b.arn()+"/"+id.Key), keys...)
		if err == nil && id.ETag != "" && id.ETag != "*" {
			err = c.Authorize("s3:GetObject", arn.ARN(b.arn()+"/"+id.Key))
		}
		switch {
		case err != nil:
		case s.upstream == nil && id.VersionId != "" && !data.ValidVersion(id.VersionId):
			err = invalidVersion(id.VersionId)
		case !id.LastModifiedTime.IsZero() || id.Size != nil:
			err = notImplemented("Size")
		}
		if err != nil {
			if err := refuse(id, err); err != nil {
				return nil, err
			}
			continue
		}
		d := data.Deletion{Key: id.Key, Version: id.VersionId}
		if id.ETag != "" {
			d.Check = matches(id.Key, id.ETag)
		}
		deletions, ids = append(deletions, d), append(ids, id)
	}
	if s.upstream != nil {
		return out, s.deleteThere(ctx, c, b, in, ids, out)
	}
	done, err := s.data.DeleteEach(b.ID, deletions, b.versioning(), c.Time.Truncate(time.Second).UTC())
	if err != nil {
		return nil, failed(b, "", err)
	}
	for i, d := range done {
		if d.Err != nil {
			if err := refuse(ids[i], d.Err); err != nil {
				return nil, err
			}
			continue
		}
		if in.Delete.Quiet != nil && *in.Delete.Quiet {
			continue
		}
		shown := api.DeletedObject{Key: ids[i].Key, VersionId: ids[i].VersionId}
		if d.Object != nil && d.Object.DeleteMarker {
			shown.DeleteMarker, shown.DeleteMarkerVersionId = true, d.Object.VersionID
		}
		out.Deleted = append(out.Deleted, shown)
	}
	return out, nil
}

func (s *Service) getObjectTagging(ctx context.Context, c *service.Call, in *api.GetObjectTaggingInput) (*api.GetObjectTaggingOutput, error) {
	b, o, err := s.stat(c, in.Bucket, in.Key, in.VersionId, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &api.GetObjectTaggingOutput{TagSet: toAPI(o.Tags), VersionId: b.shownVersion(o.VersionID)}, nil
}

func (s *Service) putObjectTagging(ctx context.Context, c *service.Call, in *api.PutObjectTaggingInput) (*api.PutObjectTaggingOutput, error) {
	tags := fromAPI(in.Tagging.TagSet)
	if err := objectTags(tags); err != nil {
		return nil, err
	}
	version, err := s.setTags(c, in.Bucket, in.Key, in.VersionId, in.ExpectedBucketOwner, tags)
	return &api.PutObjectTaggingOutput{VersionId: version}, err
}

func (s *Service) deleteObjectTagging(ctx context.Context, c *service.Call, in *api.DeleteObjectTaggingInput) (*api.DeleteObjectTaggingOutput, error) {
	version, err := s.setTags(c, in.Bucket, in.Key, in.VersionId, in.ExpectedBucketOwner, nil)
	return &api.DeleteObjectTaggingOutput{VersionId: version}, err
}

func (s *Service) setTags(c *service.Call, name, key, version, owner string, tags []data.Tag) (shown string, err error) {
	b, err := bucket(c, name, owner)
	if err != nil {
		return "", err
	}
	errMarker := errors.New("a delete marker")
	err = s.data.Update(b.ID, key, version, func(o *data.Object) error {
		if o.DeleteMarker {
			return errMarker
		}
		o.Tags = tags
		shown = b.shownVersion(o.VersionID)
		return nil
	})
	if err == errMarker {
		return "", deleted(c, b, key, version)
	}
	if err != nil {
		return "", missing(c, b, key, version, err)
	}
	return shown, nil
}
