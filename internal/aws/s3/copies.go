package s3

import (
	"context"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

// A source is what x-amz-copy-source names.
type source struct{ bucket, key, version string }

// parseSource reads "bucket/key?versionId=id", percent-encoded, with or without a
// slash in front. The error is S3's.
func parseSource(header string) (source, error) {
	path, query, _ := strings.Cut(header, "?")
	text, err := url.PathUnescape(path)
	invalid := api.InvalidArgument("Invalid copy source object key").With("ArgumentName", "x-amz-copy-source").With("ArgumentValue", header)
	if err != nil {
		return source{}, invalid
	}
	bucket, key, ok := strings.Cut(strings.TrimPrefix(text, "/"), "/")
	if !ok || bucket == "" || key == "" || strings.HasPrefix(bucket, "arn:") {
		return source{}, invalid
	}
	version := ""
	if query != "" {
		v, err := url.QueryUnescape(query)
		if err != nil {
			return source{}, invalid
		}
		if version, ok = strings.CutPrefix(v, "versionId="); !ok {
			return source{}, invalid
		}
	}
	return source{bucket, key, version}, nil
}

// sourceTarget is the source as the resource of a permission. What cannot be read is
// no object that any policy names, but one that only "*" matches.
func sourceTarget(header string) []service.Target {
	src, err := parseSource(header)
	if err != nil {
		return []service.Target{{ARN: "*"}}
	}
	return []service.Target{{ARN: arn.ARN("arn:aws:s3:::" + src.bucket + "/" + src.key)}}
}

func sourceVersion(header string) string {
	src, _ := parseSource(header)
	return src.version
}

// The functions that the rows of CopyObject and UploadPartCopy name.

func copySource(_ *service.Call, in *api.CopyObjectInput) []service.Target {
	return sourceTarget(in.CopySource)
}
func copiesVersion(_ *service.Call, in *api.CopyObjectInput) bool {
	return sourceVersion(in.CopySource) != ""
}
func copiesCurrent(c *service.Call, in *api.CopyObjectInput) bool { return !copiesVersion(c, in) }
func copiedVersion(_ *service.Call, in *api.CopyObjectInput) (policy.Value, bool) {
	v := sourceVersion(in.CopySource)
	return policy.String(v), v != ""
}
func partSource(_ *service.Call, in *api.UploadPartCopyInput) []service.Target {
	return sourceTarget(in.CopySource)
}
func partOfVersion(_ *service.Call, in *api.UploadPartCopyInput) bool {
	return sourceVersion(in.CopySource) != ""
}
func partOfCurrent(c *service.Call, in *api.UploadPartCopyInput) bool { return !partOfVersion(c, in) }
func partVersion(_ *service.Call, in *api.UploadPartCopyInput) (policy.Value, bool) {
	v := sourceVersion(in.CopySource)
	return policy.String(v), v != ""
}

// copied finds the tags that a copy takes along, which need permissions of their own
// where there are any.
func (s *Service) copied(c *service.Call, in *api.CopyObjectInput) []data.Tag {
	src, err := parseSource(in.CopySource)
	b := buckets.Get(c.State, src.bucket)
	if err != nil || b == nil || in.TaggingDirective == "REPLACE" {
		return nil
	}
	tags, err := s.tagsOf(context.Background(), b, src.key, src.version)
	if err != nil {
		c.Unknown = err
	}
	return tags
}
func (s *Service) copiesTags(c *service.Call, in *api.CopyObjectInput) bool {
	return copiesCurrent(c, in) && len(s.copied(c, in)) > 0
}
func (s *Service) copiesVersionTags(c *service.Call, in *api.CopyObjectInput) bool {
	return copiesVersion(c, in) && len(s.copied(c, in)) > 0
}
func (s *Service) keepsTags(c *service.Call, in *api.CopyObjectInput) bool {
	return in.Tagging == "" && len(s.copied(c, in)) > 0
}

// openSource opens what is to be copied.
func (s *Service) openSource(c *service.Call, header, owner string) (*Bucket, *data.Object, *data.Content, error) {
	src, err := parseSource(header)
	if err != nil {
		return nil, nil, nil, err
	}
	b, err := bucket(c, src.bucket, owner)
	if err != nil {
		return nil, nil, nil, err
	}
	o, content, err := s.data.Open(b.ID, src.key, src.version)
	if err != nil {
		return nil, nil, nil, missing(c, b, src.key, src.version, err)
	}
	if o.DeleteMarker {
		content.Close()
		if src.version != "" {
			return nil, nil, nil, api.InvalidRequest("The source of a copy request may not specifically refer to a delete marker by version id.")
		}
		return nil, nil, nil, missing(c, b, src.key, "", data.ErrNoKey)
	}
	return b, o, content, nil
}

func (s *Service) copyObject(ctx context.Context, c *service.Call, in *api.CopyObjectInput) (*api.CopyObjectOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	check, err := writeConditions(in.Key, in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	from, src, content, err := s.openSource(c, in.CopySource, in.ExpectedSourceBucketOwner)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	if err := copyConditions(src, in.CopySourceIfMatch, in.CopySourceIfNoneMatch, in.CopySourceIfModifiedSince, in.CopySourceIfUnmodifiedSince); err != nil {
		return nil, err
	}
	if src.Size > maxPut {
		return nil, api.InvalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	if in.CopySourceSSECustomerAlgorithm != "" {
		return nil, notEncryptedSo()
	}

	m := making{
		key: in.Key, contentType: in.ContentType, cacheControl: in.CacheControl, contentDisposition: in.ContentDisposition,
		contentEncoding: in.ContentEncoding, contentLanguage: in.ContentLanguage, expires: in.Expires,
		redirect: in.WebsiteRedirectLocation, storageClass: in.StorageClass, encryption: in.ServerSideEncryption, metadata: in.Metadata,
		acl:         asked{canned: in.ACL, grants: in.GrantFullControl + in.GrantRead + in.GrantReadACP + in.GrantWriteACP},
		customerKey: in.SSECustomerAlgorithm + in.SSECustomerKey, kmsKey: in.SSEKMSKeyId,
		lockMode: in.ObjectLockMode, legalHold: in.ObjectLockLegalHoldStatus, lockUntil: in.ObjectLockRetainUntilDate,
	}
	switch in.MetadataDirective {
	case "REPLACE":
	case "", "COPY":
		onto := from == b && src.Key == in.Key && sourceVersion(in.CopySource) == ""
		if onto && in.StorageClass == "" && in.WebsiteRedirectLocation == "" && in.ServerSideEncryption == "" && in.TaggingDirective != "REPLACE" && in.ChecksumAlgorithm == "" {
			return nil, api.InvalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
		}
		m.contentType, m.cacheControl, m.contentDisposition = src.ContentType, src.CacheControl, src.ContentDisposition
		m.contentEncoding, m.contentLanguage, m.expires, m.metadata = src.ContentEncoding, src.ContentLanguage, src.Expires, src.Metadata
	default:
		return nil, api.InvalidArgument("Unknown metadata directive.").With("ArgumentName", "x-amz-metadata-directive").With("ArgumentValue", in.MetadataDirective)
	}
	switch in.TaggingDirective {
	case "REPLACE":
		m.tagging = in.Tagging
	case "", "COPY":
	default:
		return nil, api.InvalidArgument("Unknown tagging directive.").With("ArgumentName", "x-amz-tagging-directive").With("ArgumentValue", in.TaggingDirective)
	}
	o, err := m.object(c, b)
	if err != nil {
		return nil, err
	}
	if in.TaggingDirective != "REPLACE" {
		o.Tags = src.Tags
	}

	// A copy shares the body of its source. One that was uploaded in parts becomes whole,
	// and one whose checksum is to be in another algorithm is read for it.
	name := in.ChecksumAlgorithm
	if name == "" {
		name = src.Checksum.Algorithm
	}
	if name == "" {
		name = crc64nvme
	}
	want, err := algorithmOf(name)
	if err != nil {
		return nil, err
	}
	o.Size, o.ETag, o.Checksum, o.Parts = src.Size, src.ETag, src.Checksum, src.Parts
	var made []data.Part
	switch {
	case src.UploadID != "":
		sum := newSummer(content, want, "")
		part, err := s.data.Write(sum)
		if err != nil {
			return nil, failed(b, in.Key, err)
		}
		made = []data.Part{part}
		o.Size, o.ETag, o.Parts = part.Size, part.ETag, made
		o.Checksum = data.Checksum{Algorithm: want.name, Value: sum.value(), Type: fullObject}
	case src.Checksum.Algorithm != want.name:
		sum := newSummer(content, want, "")
		if _, err := io.Copy(io.Discard, sum); err != nil {
			return nil, err
		}
		o.Checksum = data.Checksum{Algorithm: want.name, Value: sum.value(), Type: fullObject}
	}
	if err := s.data.Put(b.ID, o, b.versioning(), check); err != nil {
		s.data.Discard(made...)
		return nil, failed(b, in.Key, err)
	}
	out := &api.CopyObjectOutput{
		CopyObjectResult:     &api.CopyObjectResult{ETag: quoted(o.ETag), LastModified: o.Modified},
		CopySourceVersionId:  from.shownVersion(src.VersionID),
		VersionId:            b.shownVersion(o.VersionID),
		ServerSideEncryption: o.Encryption,
	}
	setChecksum(out.CopyObjectResult, o.Checksum)
	return out, nil
}

func (s *Service) uploadPartCopy(ctx context.Context, c *service.Call, in *api.UploadPartCopyInput) (*api.UploadPartCopyOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if in.PartNumber < 1 || in.PartNumber > maxParts {
		return nil, invalidPartNumber(int(in.PartNumber))
	}
	u, err := s.data.StatUpload(b.ID, in.Key, in.UploadId)
	if err != nil {
		return nil, noUpload(b, in.UploadId, err)
	}
	from, src, content, err := s.openSource(c, in.CopySource, in.ExpectedSourceBucketOwner)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	if err := copyConditions(src, in.CopySourceIfMatch, in.CopySourceIfNoneMatch, in.CopySourceIfModifiedSince, in.CopySourceIfUnmodifiedSince); err != nil {
		return nil, err
	}
	length := src.Size
	if in.CopySourceRange != "" {
		var off int64
		if off, length, err = copyRange(in.CopySourceRange, src.Size); err != nil {
			return nil, err
		}
		content.Section(off, length)
	}
	if length > maxPut {
		return nil, tooLarge(length)
	}
	want, err := partAlgorithm(u)
	if err != nil {
		return nil, err
	}
	sum := newSummer(content, want, "")
	part, err := s.data.Write(sum)
	if err != nil {
		return nil, failed(b, in.Key, err)
	}
	part.Number, part.Modified = int(in.PartNumber), c.Time.Truncate(time.Second).UTC()
	part.Checksum = data.Checksum{Algorithm: want.name, Value: sum.value()}
	if err := s.data.PutPart(b.ID, in.Key, in.UploadId, part); err != nil {
		s.data.Discard(part)
		return nil, noUpload(b, in.UploadId, err)
	}
	out := &api.UploadPartCopyOutput{
		CopyPartResult:       &api.CopyPartResult{ETag: quoted(part.ETag), LastModified: part.Modified},
		CopySourceVersionId:  from.shownVersion(src.VersionID),
		ServerSideEncryption: aes256,
	}
	if u.Checksum.Algorithm != "" {
		setChecksum(out.CopyPartResult, part.Checksum)
	}
	return out, nil
}

// copyRange reads x-amz-copy-source-range, which must be bytes=first-last within the source.
func copyRange(header string, size int64) (off, length int64, err error) {
	invalid := func(text string) (int64, int64, error) {
		return 0, 0, api.InvalidArgument("%s", text).With("ArgumentName", "x-amz-copy-source-range").With("ArgumentValue", header)
	}
	spec, ok := strings.CutPrefix(header, "bytes=")
	from, to, dash := strings.Cut(spec, "-")
	first, err1 := strconv.ParseUint(from, 10, 63)
	last, err2 := strconv.ParseUint(to, 10, 63)
	if !ok || !dash || err1 != nil || err2 != nil || last < first {
		return invalid("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	}
	if last >= uint64(size) {
		return invalid("Range specified is not valid for source object of size: " + strconv.FormatInt(size, 10))
	}
	return int64(first), int64(last-first) + 1, nil
}
