package s3

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

const (
	maxParts = 10000
	minPart  = 5 << 20 // of all but the last
)

func invalidPartNumber(n int) *wire.Error {
	return api.InvalidArgument("Part number must be an integer between 1 and 10000, inclusive").With("ArgumentName", "partNumber").With("ArgumentValue", strconv.Itoa(n))
}

// noUpload is the answer where the data store did not find an upload.
func noUpload(b *Bucket, id string, err error) error {
	if errors.Is(err, data.ErrNoUpload) {
		return api.NoSuchUpload("The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.").With("UploadId", id)
	}
	return failed(b, "", err)
}

// partAlgorithm is the one in which the parts of an upload have checksums. Where the
// caller asked for none it is CRC64NVME, and parts may come with any.
func partAlgorithm(u *data.Upload) (*algorithm, error) {
	if u.Checksum.Algorithm == "" {
		return algorithmOf(crc64nvme)
	}
	return algorithmOf(u.Checksum.Algorithm)
}

func (s *Service) createMultipartUpload(ctx context.Context, c *service.Call, in *api.CreateMultipartUploadInput) (*api.CreateMultipartUploadOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
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
	if in.ChecksumAlgorithm != "" {
		a, err := algorithmOf(in.ChecksumAlgorithm)
		if err != nil {
			return nil, err
		}
		if o.Checksum.Type, err = a.typeOf(in.ChecksumType); err != nil {
			return nil, err
		}
		o.Checksum.Algorithm = a.name
	} else if in.ChecksumType != "" {
		return nil, api.InvalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
	}
	u := &data.Upload{Object: *o, Initiator: string(c.Caller.ARN)}
	if err := s.data.CreateUpload(b.ID, u); err != nil {
		return nil, failed(b, in.Key, err)
	}
	return &api.CreateMultipartUploadOutput{
		Bucket: in.Bucket, Key: in.Key, UploadId: u.ID, ServerSideEncryption: aes256,
		ChecksumAlgorithm: u.Checksum.Algorithm, ChecksumType: u.Checksum.Type,
	}, nil
}

func (s *Service) uploadPart(ctx context.Context, c *service.Call, in *api.UploadPartInput) (*api.UploadPartOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if in.PartNumber < 1 || in.PartNumber > maxParts {
		return nil, invalidPartNumber(int(in.PartNumber))
	}
	if in.SSECustomerAlgorithm != "" {
		return nil, notImplemented("x-amz-server-side-encryption-customer-algorithm")
	}
	u, err := s.data.StatUpload(b.ID, in.Key, in.UploadId)
	if err != nil {
		return nil, noUpload(b, in.UploadId, err)
	}
	want, err := partAlgorithm(u)
	if err != nil {
		return nil, err
	}
	if sent := sentChecksum(c, in); u.Checksum.Algorithm != "" && sent != want.name {
		return nil, api.InvalidRequest("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", lower(want.name), lower(sent))
	}
	part, err := s.receive(c, in.Body, in.ContentLength, want, in)
	if err != nil {
		return nil, failed(b, in.Key, err)
	}
	part.Number, part.Checksum.Type = int(in.PartNumber), ""
	if err := s.data.PutPart(b.ID, in.Key, in.UploadId, part); err != nil {
		s.data.Discard(part)
		return nil, noUpload(b, in.UploadId, err)
	}
	out := &api.UploadPartOutput{ETag: quoted(part.ETag), ServerSideEncryption: aes256}
	if u.Checksum.Algorithm != "" {
		setChecksum(out, part.Checksum)
	} else {
		setChecksum(out, checksumIn(in)) // repeated to the one who sent it
	}
	return out, nil
}

func (s *Service) completeMultipartUpload(ctx context.Context, c *service.Call, in *api.CompleteMultipartUploadInput) (*api.CompleteMultipartUploadOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	check, err := writeConditions(in.Key, in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	if in.MultipartUpload == nil || len(in.MultipartUpload.Parts) == 0 {
		return nil, api.InvalidRequest("You must specify at least one part")
	}
	o, err := s.data.Complete(b.ID, in.Key, in.UploadId, b.versioning(), check, func(u *data.Upload, uploaded []data.Part) (*data.Object, error) {
		return assemble(c, in, u, uploaded)
	})
	if err != nil {
		return nil, noUpload(b, in.UploadId, err)
	}
	out := &api.CompleteMultipartUploadOutput{
		Location: c.Source.Endpoint() + "/" + in.Bucket + "/" + in.Key, Bucket: in.Bucket, Key: in.Key,
		ETag: quoted(o.ETag), VersionId: b.shownVersion(o.VersionID), ServerSideEncryption: aes256,
	}
	setChecksum(out, o.Checksum)
	return out, nil
}

// assemble makes the object of the parts that a call chose.
func assemble(c *service.Call, in *api.CompleteMultipartUploadInput, u *data.Upload, uploaded []data.Part) (*data.Object, error) {
	a, err := partAlgorithm(u)
	if err != nil {
		return nil, err
	}
	byNumber := make(map[int]*data.Part, len(uploaded))
	for i := range uploaded {
		byNumber[uploaded[i].Number] = &uploaded[i]
	}
	o := u.Object
	o.Modified = c.Time.Truncate(time.Second).UTC()
	sum := md5.New()
	last := 0
	for i := range in.MultipartUpload.Parts {
		chosen := &in.MultipartUpload.Parts[i]
		number := 0
		if chosen.PartNumber != nil {
			number = int(*chosen.PartNumber)
		}
		switch {
		case number < 1 || number > maxParts:
			return nil, invalidPartNumber(number)
		case number <= last:
			return nil, api.InvalidPartOrder("The list of parts was not in ascending order. Parts must be ordered by part number.").With("UploadId", u.ID)
		}
		last = number
		p := byNumber[number]
		given := checksumIn(chosen)
		if p == nil || !sameETag(chosen.ETag, p.ETag) || chosen.ETag == "*" || given.Algorithm == a.name && given.Value != p.Checksum.Value {
			return nil, api.InvalidPart("One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.").
				With("UploadId", u.ID).With("PartNumber", strconv.Itoa(number)).With("ETag", chosen.ETag)
		}
		if u.Checksum.Type == composite && given.Algorithm != a.name {
			return nil, api.InvalidRequest("The upload was created using a %s checksum. The complete request must include the checksum for each part. It was missing for part %d in the request.", lower(a.name), number)
		}
		if i < len(in.MultipartUpload.Parts)-1 && p.Size < minPart {
			return nil, api.EntityTooSmall("Your proposed upload is smaller than the minimum allowed size").
				With("ProposedSize", strconv.FormatInt(p.Size, 10)).With("MinSizeAllowed", strconv.Itoa(minPart)).With("PartNumber", strconv.Itoa(number)).With("ETag", p.ETag)
		}
		digest, err := hex.DecodeString(p.ETag)
		if err != nil {
			return nil, err
		}
		sum.Write(digest)
		o.Size += p.Size
		o.Parts = append(o.Parts, *p)
	}
	o.ETag = hex.EncodeToString(sum.Sum(nil)) + "-" + strconv.Itoa(len(o.Parts))
	if in.MpuObjectSize != nil && *in.MpuObjectSize != o.Size {
		return nil, api.InvalidRequest("The provided 'x-amz-mp-object-size' header value %d does not match what was computed: %d", *in.MpuObjectSize, o.Size)
	}
	o.Checksum = data.Checksum{Algorithm: a.name, Type: u.Checksum.Type}
	if o.Checksum.Type == "" {
		o.Checksum.Type = fullObject
	}
	if in.ChecksumType != "" && in.ChecksumType != o.Checksum.Type {
		return nil, api.InvalidRequest("The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", o.Checksum.Type)
	}
	if o.Checksum.Value, err = a.whole(o.Parts, o.Checksum.Type); err != nil {
		return nil, err
	}
	if given := checksumIn(in); given.Algorithm == a.name && given.Value != o.Checksum.Value {
		return nil, badChecksum(a.name)
	}
	return &o, nil
}

func (s *Service) abortMultipartUpload(ctx context.Context, c *service.Call, in *api.AbortMultipartUploadInput) (*api.AbortMultipartUploadOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if err := s.data.Abort(b.ID, in.Key, in.UploadId); err != nil {
		return nil, noUpload(b, in.UploadId, err)
	}
	return &api.AbortMultipartUploadOutput{}, nil
}

// initiator shows who began an upload.
func initiator(u *data.Upload) *api.Initiator { return &api.Initiator{ID: u.Initiator} }

func (s *Service) listParts(ctx context.Context, c *service.Call, in *api.ListPartsInput) (*api.ListPartsOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	u, err := s.data.StatUpload(b.ID, in.Key, in.UploadId)
	if err != nil {
		return nil, noUpload(b, in.UploadId, err)
	}
	limit, err := pageSize("maxParts", in.MaxParts)
	if err != nil {
		return nil, err
	}
	after := 0
	if in.PartNumberMarker != nil {
		if after = int(*in.PartNumberMarker); after < 0 {
			return nil, api.InvalidArgument("Argument part-number-marker must be an integer between 0 and 2147483647").With("ArgumentName", "part-number-marker").With("ArgumentValue", strconv.Itoa(after))
		}
	}
	out := &api.ListPartsOutput{
		Bucket: in.Bucket, Key: in.Key, UploadId: u.ID, PartNumberMarker: int32(after), MaxParts: int32(limit), StorageClass: u.StorageClass,
		Owner: (*api.Owner)(owner(c.State, b.Account)), Initiator: initiator(u), ChecksumAlgorithm: u.Checksum.Algorithm, ChecksumType: u.Checksum.Type,
	}
	parts, more, err := s.data.ListParts(b.ID, in.Key, in.UploadId, min(after, maxParts), limit)
	if err != nil {
		return nil, noUpload(b, in.UploadId, err)
	}
	for i := range parts {
		p := &parts[i]
		shown := api.Part{PartNumber: int32(p.Number), LastModified: p.Modified, ETag: quoted(p.ETag), Size: p.Size}
		if u.Checksum.Algorithm != "" {
			setChecksum(&shown, p.Checksum)
		}
		out.Parts = append(out.Parts, shown)
		out.NextPartNumberMarker = int32(p.Number)
	}
	out.IsTruncated = more
	return out, nil
}

func (s *Service) listMultipartUploads(ctx context.Context, c *service.Call, in *api.ListMultipartUploadsInput) (*api.ListMultipartUploadsOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-uploads", in.MaxUploads)
	if err != nil {
		return nil, err
	}
	q := data.Query{Prefix: in.Prefix, Delimiter: in.Delimiter, Max: limit, After: in.KeyMarker, PastPrefix: true}
	if in.KeyMarker != "" {
		q.AfterID = in.UploadIdMarker // alone it is ignored
	}
	l, err := s.data.ListUploads(b.ID, q)
	if err != nil {
		return nil, failed(b, "", err)
	}
	enc, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	out := &api.ListMultipartUploadsOutput{
		Bucket: in.Bucket, KeyMarker: enc(in.KeyMarker), UploadIdMarker: in.UploadIdMarker, Prefix: enc(in.Prefix), Delimiter: enc(in.Delimiter),
		MaxUploads: int32(limit), EncodingType: in.EncodingType, IsTruncated: l.Truncated,
		NextKeyMarker: enc(l.Next), NextUploadIdMarker: l.NextID, CommonPrefixes: commonPrefixes(l.Prefixes, enc),
	}
	for i := range l.Items {
		u := &l.Items[i]
		out.Uploads = append(out.Uploads, api.MultipartUpload{
			UploadId: u.ID, Key: enc(u.Key), Initiated: u.Modified, StorageClass: u.StorageClass, Owner: owner(c.State, b.Account), Initiator: initiator(u),
			ChecksumAlgorithm: u.Checksum.Algorithm, ChecksumType: u.Checksum.Type,
		})
	}
	return out, nil
}
