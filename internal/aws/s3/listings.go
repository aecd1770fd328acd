package s3

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// pageSize is how many a page holds: at most 1000, whatever is asked for.
func pageSize(name string, asked *int32) (int, error) {
	if asked == nil {
		return 1000, nil
	}
	if *asked < 0 {
		return 0, api.InvalidArgument("Argument %s must be an integer between 0 and 2147483647", name).With("ArgumentName", name).With("ArgumentValue", strconv.Itoa(int(*asked)))
	}
	return min(int(*asked), 1000), nil
}

// A token of a listing is opaque to callers: the text to go on behind.
func newToken(after string) string { return base64.RawURLEncoding.EncodeToString([]byte("1" + after)) }

func parseToken(token string) (after string, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(string(b), "1")
}

func invalidToken(token string) *wire.Error {
	return api.InvalidArgument("The continuation token provided is incorrect").With("ArgumentName", "continuation-token").With("ArgumentValue", token)
}

// encoder encodes keys of a listing as the caller asked: encoding-type=url is for
// keys with characters that XML does not have.
func encoder(typ string) (func(string) string, error) {
	switch typ {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		return encode, nil
	}
	return nil, api.InvalidArgument("Invalid Encoding Method specified in Request").With("ArgumentName", "encoding-type").With("ArgumentValue", typ)
}

// encode is percent-encoding as S3's listings have it: a space is a plus sign, a
// slash stays.
func encode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.*/", c) >= 0:
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte('+')
		default:
			const digits = "0123456789ABCDEF"
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

func commonPrefixes(prefixes []string, enc func(string) string) []api.CommonPrefix {
	var all []api.CommonPrefix
	for _, p := range prefixes {
		all = append(all, api.CommonPrefix{Prefix: enc(p)})
	}
	return all
}

// shown is an object as listings have it.
func shown(o *data.Object, enc func(string) string, owner *api.Owner) api.Object {
	s := api.Object{Key: enc(o.Key), LastModified: o.Modified, ETag: quoted(o.ETag), Size: o.Size, StorageClass: o.StorageClass, Owner: owner}
	if o.Checksum.Algorithm != "" {
		s.ChecksumAlgorithm, s.ChecksumType = []string{o.Checksum.Algorithm}, o.Checksum.Type
	}
	return s
}

func (s *Service) listObjects(ctx context.Context, c *service.Call, in *api.ListObjectsInput) (*api.ListObjectsOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("maxKeys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	enc, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	l, err := s.data.List(b.ID, data.Query{Prefix: in.Prefix, Delimiter: in.Delimiter, Max: limit, After: in.Marker, PastPrefix: true})
	if err != nil {
		return nil, failed(b, "", err)
	}
	out := &api.ListObjectsOutput{
		Name: in.Bucket, Prefix: enc(in.Prefix), Marker: enc(in.Marker), Delimiter: enc(in.Delimiter), MaxKeys: int32(limit),
		EncodingType: in.EncodingType, IsTruncated: l.Truncated, CommonPrefixes: commonPrefixes(l.Prefixes, enc),
	}
	if in.Delimiter != "" {
		out.NextMarker = enc(l.Next)
	}
	all := owner(c.State, b.Account)
	for i := range l.Items {
		out.Contents = append(out.Contents, shown(&l.Items[i], enc, all))
	}
	return out, nil
}

func (s *Service) listObjectsV2(ctx context.Context, c *service.Call, in *api.ListObjectsV2Input) (*api.ListObjectsV2Output, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("maxKeys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	enc, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	q := data.Query{Prefix: in.Prefix, Delimiter: in.Delimiter, Max: limit, After: in.StartAfter}
	if in.ContinuationToken != "" {
		var ok bool
		if q.After, ok = parseToken(in.ContinuationToken); !ok {
			return nil, invalidToken(in.ContinuationToken)
		}
		q.PastPrefix = true
	}
	l, err := s.data.List(b.ID, q)
	if err != nil {
		return nil, failed(b, "", err)
	}
	out := &api.ListObjectsV2Output{
		Name: in.Bucket, Prefix: enc(in.Prefix), StartAfter: enc(in.StartAfter), Delimiter: enc(in.Delimiter), MaxKeys: int32(limit),
		EncodingType: in.EncodingType, IsTruncated: l.Truncated, CommonPrefixes: commonPrefixes(l.Prefixes, enc),
		KeyCount: int32(len(l.Items) + len(l.Prefixes)), ContinuationToken: in.ContinuationToken,
	}
	if l.Truncated {
		out.NextContinuationToken = newToken(l.Next)
	}
	var all *api.Owner
	if in.FetchOwner != nil && *in.FetchOwner {
		all = owner(c.State, b.Account)
	}
	for i := range l.Items {
		out.Contents = append(out.Contents, shown(&l.Items[i], enc, all))
	}
	return out, nil
}

func (s *Service) listObjectVersions(ctx context.Context, c *service.Call, in *api.ListObjectVersionsInput) (*api.ListObjectVersionsOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("maxKeys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	enc, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	switch {
	case in.VersionIdMarker != "" && in.KeyMarker == "":
		return nil, api.InvalidArgument("A version-id marker cannot be specified without a key marker.").With("ArgumentName", "version-id-marker").With("ArgumentValue", in.VersionIdMarker)
	case in.VersionIdMarker != "" && !data.ValidVersion(in.VersionIdMarker):
		return nil, api.InvalidArgument("Invalid version id specified").With("ArgumentName", "version-id-marker").With("ArgumentValue", in.VersionIdMarker)
	}
	l, err := s.data.ListVersions(b.ID, data.Query{
		Prefix: in.Prefix, Delimiter: in.Delimiter, Max: limit, After: in.KeyMarker, AfterID: in.VersionIdMarker, PastPrefix: true,
	})
	if err != nil {
		return nil, failed(b, "", err)
	}
	out := &api.ListObjectVersionsOutput{
		Name: in.Bucket, Prefix: enc(in.Prefix), KeyMarker: enc(in.KeyMarker), VersionIdMarker: in.VersionIdMarker, Delimiter: enc(in.Delimiter),
		MaxKeys: int32(limit), EncodingType: in.EncodingType, IsTruncated: l.Truncated,
		NextKeyMarker: enc(l.Next), NextVersionIdMarker: l.NextID, CommonPrefixes: commonPrefixes(l.Prefixes, enc),
	}
	all := owner(c.State, b.Account)
	for i := range l.Items {
		v := &l.Items[i]
		if v.DeleteMarker {
			out.DeleteMarkers = append(out.DeleteMarkers, api.DeleteMarkerEntry{Key: enc(v.Key), VersionId: v.VersionID, IsLatest: v.IsLatest, LastModified: v.Modified, Owner: all})
			continue
		}
		o := shown(&v.Object, enc, all)
		out.Versions = append(out.Versions, api.ObjectVersion{
			ETag: o.ETag, ChecksumAlgorithm: o.ChecksumAlgorithm, ChecksumType: o.ChecksumType, Size: o.Size, StorageClass: o.StorageClass,
			Key: o.Key, VersionId: v.VersionID, IsLatest: v.IsLatest, LastModified: o.LastModified, Owner: all,
		})
	}
	return out, nil
}
