package s3_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/iamd-dev/iamd/internal/awstest"
)

const mib = 1 << 20

var ctx = context.Background()

// random is bytes that no two tests need to share.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// client is the root's, with a bucket named "bucket".
func client(t *testing.T) *s3.Client {
	t.Helper()
	s := awstest.Start(t, "111122223333")
	c := s.S3(s.Config(s.Root("111122223333")))
	if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("bucket")}); err != nil {
		t.Fatal(err)
	}
	return c
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

// begin begins an upload and sends parts, whose numbers begin at 1.
func begin(t *testing.T, c *s3.Client, in s3.CreateMultipartUploadInput, parts ...[]byte) (id *string, done []types.CompletedPart) {
	t.Helper()
	in.Bucket, in.Key = aws.String("bucket"), aws.String("k")
	u, err := c.CreateMultipartUpload(ctx, &in)
	if err != nil {
		t.Fatal(err)
	}
	for i, body := range parts {
		p, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: in.Bucket, Key: in.Key, UploadId: u.UploadId,
			PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(body), ChecksumAlgorithm: in.ChecksumAlgorithm})
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: p.ETag,
			ChecksumCRC32: p.ChecksumCRC32, ChecksumCRC32C: p.ChecksumCRC32C, ChecksumSHA1: p.ChecksumSHA1, ChecksumSHA256: p.ChecksumSHA256, ChecksumCRC64NVME: p.ChecksumCRC64NVME})
	}
	return u.UploadId, done
}

func complete(c *s3.Client, id *string, parts ...types.CompletedPart) (*s3.CompleteMultipartUploadOutput, error) {
	return c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: aws.String("bucket"), Key: aws.String("k"), UploadId: id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
}

func TestMultipartUpload(t *testing.T) {
	c := client(t)
	one, two, three := random(5*mib), random(5*mib+1), []byte("the end")
	id, parts := begin(t, c, s3.CreateMultipartUploadInput{Metadata: map[string]string{"a": "b"}, ContentType: aws.String("x/y"), Tagging: aws.String("t=1")}, one, two, three)

	l, err := c.ListParts(ctx, &s3.ListPartsInput{Bucket: aws.String("bucket"), Key: aws.String("k"), UploadId: id, MaxParts: aws.Int32(2)})
	if err != nil || len(l.Parts) != 2 || !*l.IsTruncated || *l.NextPartNumberMarker != "2" || *l.Parts[1].Size != 5*mib+1 || !strings.HasSuffix(*l.Initiator.ID, ":root") {
		t.Errorf("ListParts: %+v, %v", l, err)
	}
	for name, wrong := range map[string][]types.CompletedPart{
		"InvalidPart":      {parts[0], {PartNumber: aws.Int32(2), ETag: aws.String(`"00000000000000000000000000000000"`)}},
		"InvalidPartOrder": {parts[1], parts[0]},
		"EntityTooSmall":   {parts[0], parts[2], {PartNumber: aws.Int32(4), ETag: parts[2].ETag}},
		"InvalidArgument":  {{PartNumber: aws.Int32(0), ETag: parts[0].ETag}},
	} {
		if name == "EntityTooSmall" {
			p, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: aws.String("bucket"), Key: aws.String("k"), UploadId: id, PartNumber: aws.Int32(4), Body: bytes.NewReader(three)})
			if err != nil {
				t.Fatal(err)
			}
			wrong[2].ETag = p.ETag
		}
		if _, err := complete(c, id, wrong...); code(err) != name {
			t.Errorf("completing wrongly: %s, want %s", code(err), name)
		}
	}
	if _, err := complete(c, aws.String("rubbish"), parts...); code(err) != "NoSuchUpload" {
		t.Errorf("completing an unknown upload: %v", err)
	}

	sum := md5.New()
	for _, body := range [][]byte{one, two, three} {
		digest := md5.Sum(body)
		sum.Write(digest[:])
	}
	want := `"` + hex.EncodeToString(sum.Sum(nil)) + `-3"`
	for range 2 { // a second time because the answer may have been lost
		o, err := complete(c, id, parts...)
		if err != nil || *o.ETag != want || *o.ChecksumCRC64NVME == "" || o.ChecksumType != types.ChecksumTypeFullObject {
			t.Fatalf("completing: %+v, %v; want %s", o, err, want)
		}
	}
	whole := bytes.Join([][]byte{one, two, three}, nil)
	for _, test := range []struct {
		in    s3.GetObjectInput
		body  []byte
		parts int32
	}{
		{s3.GetObjectInput{}, whole, 0},
		{s3.GetObjectInput{Range: aws.String(fmt.Sprintf("bytes=%d-%d", 5*mib-3, 5*mib+2))}, whole[5*mib-3 : 5*mib+3], 0},
		{s3.GetObjectInput{PartNumber: aws.Int32(2)}, two, 3},
		{s3.GetObjectInput{PartNumber: aws.Int32(3)}, three, 3},
	} {
		test.in.Bucket, test.in.Key = aws.String("bucket"), aws.String("k")
		o, err := c.GetObject(ctx, &test.in)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(o.Body)
		if err != nil || !bytes.Equal(body, test.body) || aws.ToInt32(o.PartsCount) != test.parts || o.Metadata["a"] != "b" || *o.ContentType != "x/y" || *o.TagCount != 1 {
			t.Errorf("%+v: %d bytes, %v, %+v", test.in, len(body), err, o)
		}
	}

	// The same body put whole has the same checksum, which was not computed from it.
	o, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("whole"), Body: bytes.NewReader(whole), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme})
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil || *h.ChecksumCRC64NVME != *o.ChecksumCRC64NVME {
		t.Errorf("CRC64NVME %s in parts, %s whole, %v", aws.ToString(h.ChecksumCRC64NVME), aws.ToString(o.ChecksumCRC64NVME), err)
	}

	// A copy of it is an object that was put whole.
	copied, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: aws.String("bucket"), Key: aws.String("copy"), CopySource: aws.String("bucket/k")})
	if digest := md5.Sum(whole); err != nil || *copied.CopyObjectResult.ETag != `"`+hex.EncodeToString(digest[:])+`"` {
		t.Errorf("copying: %+v, %v", copied, err)
	}
}

func TestMultipartChecksums(t *testing.T) {
	c := client(t)
	one, two := random(5*mib), []byte("the end")
	for _, test := range []struct {
		algorithm types.ChecksumAlgorithm
		typ       types.ChecksumType
		refused   bool
	}{
		{types.ChecksumAlgorithmCrc32, types.ChecksumTypeComposite, false},
		{types.ChecksumAlgorithmCrc32, types.ChecksumTypeFullObject, false},
		{types.ChecksumAlgorithmCrc32c, types.ChecksumTypeFullObject, false},
		{types.ChecksumAlgorithmCrc64nvme, types.ChecksumTypeFullObject, false},
		{types.ChecksumAlgorithmSha256, types.ChecksumTypeComposite, false},
		{types.ChecksumAlgorithmSha1, types.ChecksumTypeComposite, false},
		{types.ChecksumAlgorithmSha1, types.ChecksumTypeFullObject, true},
		{types.ChecksumAlgorithmCrc64nvme, types.ChecksumTypeComposite, true},
	} {
		t.Run(fmt.Sprint(test.algorithm, test.typ), func(t *testing.T) {
			in := s3.CreateMultipartUploadInput{ChecksumAlgorithm: test.algorithm, ChecksumType: test.typ}
			if test.refused {
				in.Bucket, in.Key = aws.String("bucket"), aws.String("k")
				if _, err := c.CreateMultipartUpload(ctx, &in); code(err) != "InvalidRequest" {
					t.Errorf("got %v", err)
				}
				return
			}
			id, parts := begin(t, c, in, one, two)
			o, err := complete(c, id, parts...)
			if err != nil || o.ChecksumType != test.typ {
				t.Fatalf("%+v, %v", o, err)
			}
			of := func(crc32, crc32c, crc64, sha1, sha256 *string) string {
				return aws.ToString(crc32) + aws.ToString(crc32c) + aws.ToString(crc64) + aws.ToString(sha1) + aws.ToString(sha256)
			}
			sum := of(o.ChecksumCRC32, o.ChecksumCRC32C, o.ChecksumCRC64NVME, o.ChecksumSHA1, o.ChecksumSHA256)
			if test.typ == types.ChecksumTypeComposite {
				if !strings.HasSuffix(sum, "-2") {
					t.Errorf("composite checksum %s", sum)
				}
				return
			}
			w, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("whole"), Body: io.MultiReader(bytes.NewReader(one), bytes.NewReader(two)), ContentLength: aws.Int64(5*mib + 7), ChecksumAlgorithm: test.algorithm})
			if err == nil && of(w.ChecksumCRC32, w.ChecksumCRC32C, w.ChecksumCRC64NVME, w.ChecksumSHA1, w.ChecksumSHA256) != sum {
				t.Errorf("%s combined, %+v of the whole", sum, w)
			}
		})
	}

	// A composite checksum is asked for part by part; a part has the upload's algorithm.
	id, parts := begin(t, c, s3.CreateMultipartUploadInput{ChecksumAlgorithm: types.ChecksumAlgorithmSha256}, one, two)
	parts[1].ChecksumSHA256 = nil
	if _, err := complete(c, id, parts...); code(err) != "InvalidRequest" || !strings.Contains(err.Error(), "It was missing for part 2 in the request.") {
		t.Errorf("completing without a checksum: %v", err)
	}
	_, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: aws.String("bucket"), Key: aws.String("k"), UploadId: id, PartNumber: aws.Int32(3), Body: bytes.NewReader(two), ChecksumAlgorithm: types.ChecksumAlgorithmSha1})
	if code(err) != "InvalidRequest" || !strings.Contains(err.Error(), "Checksum Type mismatch occurred, expected checksum Type: sha256, actual checksum Type: sha1") {
		t.Errorf("a part with another checksum: %v", err)
	}
}

func TestUploadPartCopy(t *testing.T) {
	c := client(t)
	body := random(6 * mib)
	if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("source"), Body: bytes.NewReader(body)}); err != nil {
		t.Fatal(err)
	}
	id, _ := begin(t, c, s3.CreateMultipartUploadInput{})
	part := func(number int32, source, of string) (*s3.UploadPartCopyOutput, error) {
		in := &s3.UploadPartCopyInput{Bucket: aws.String("bucket"), Key: aws.String("k"), UploadId: id, PartNumber: &number, CopySource: &source}
		if of != "" {
			in.CopySourceRange = &of
		}
		return c.UploadPartCopy(ctx, in)
	}
	one, err := part(1, "bucket/source", "")
	if err != nil {
		t.Fatal(err)
	}
	two, err := part(2, "bucket/source", "bytes=1-3")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ source, of, want string }{
		{"bucket/absent", "", "NoSuchKey"},
		{"bucket/source", "bytes=0-6291456", "InvalidArgument"},
		{"bucket/source", "bytes=3-1", "InvalidArgument"},
		{"bucket/source", "bytes=-5", "InvalidArgument"},
		{"bucket", "", "InvalidArgument"},
	} {
		if _, err := part(3, test.source, test.of); code(err) != test.want {
			t.Errorf("%s %s: %v, want %s", test.source, test.of, err, test.want)
		}
	}
	if _, err := part(10001, "bucket/source", ""); code(err) != "InvalidArgument" {
		t.Errorf("part 10001: %v", err)
	}
	if _, err := complete(c, id, types.CompletedPart{PartNumber: aws.Int32(1), ETag: one.CopyPartResult.ETag}, types.CompletedPart{PartNumber: aws.Int32(2), ETag: two.CopyPartResult.ETag}); err != nil {
		t.Fatal(err)
	}
	o, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(o.Body); err != nil || !bytes.Equal(got, append(bytes.Clone(body), body[1:4]...)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestAbort(t *testing.T) {
	c := client(t)
	id, parts := begin(t, c, s3.CreateMultipartUploadInput{}, random(5*mib))
	l, err := c.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: aws.String("bucket")})
	if err != nil || len(l.Uploads) != 1 || *l.Uploads[0].UploadId != *id {
		t.Errorf("uploads: %+v, %v", l, err)
	}
	abort := &s3.AbortMultipartUploadInput{Bucket: aws.String("bucket"), Key: aws.String("k"), UploadId: id}
	if _, err := c.AbortMultipartUpload(ctx, abort); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AbortMultipartUpload(ctx, abort); code(err) != "NoSuchUpload" {
		t.Errorf("aborting again: %v", err)
	}
	if _, err := complete(c, id, parts...); code(err) != "NoSuchUpload" {
		t.Errorf("completing what was aborted: %v", err)
	}
	_, err = c.UploadPart(ctx, &s3.UploadPartInput{Bucket: aws.String("bucket"), Key: aws.String("k"), UploadId: id, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
	if code(err) != "NoSuchUpload" {
		t.Errorf("a part of what was aborted: %v", err)
	}
	if l, err := c.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: aws.String("bucket")}); err != nil || len(l.Uploads) != 0 {
		t.Errorf("uploads after the abort: %+v, %v", l, err)
	}
}
