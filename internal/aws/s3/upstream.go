package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/proxy"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// An Upstream is an S3-compatible store that keeps what buckets hold, in place of package
// data. iamd keeps what decisions need of a bucket (its owner, its policy, its tags, Block
// Public Access), and asks the store, as itself, for all else; bodies stream through.
type Upstream struct {
	Server interface {
		Do(*http.Request) (*http.Response, error)
	}
	// Owner is the account whose CreateBucket takes over a bucket that the store has and
	// iamd does not know. "": nobody's, and such a bucket is somebody else's.
	Owner string
}

// NewUpstream returns S3 in front of another store.
func NewUpstream(db *store.DB, u *Upstream) *Service { return &Service{db: db, upstream: u} }

// held is the row of an operation on what the store of the objects keeps: done here, or by the upstream.
func held[In, Out any](s *Service, f func(context.Context, *service.Call, *In) (*Out, error), on service.Resource, clauses ...service.Clause) service.Row {
	if s.upstream != nil {
		f = func(ctx context.Context, c *service.Call, in *In) (*Out, error) {
			out := new(Out)
			return out, s.remote(ctx, c, in, out)
		}
	}
	return service.Handle(f, on, clauses...)
}

// remote has the upstream carry out a call on a bucket that iamd knows.
func (s *Service) remote(ctx context.Context, c *service.Call, in, out any) error {
	v := reflect.ValueOf(in).Elem()
	expected := ""
	if f := v.FieldByName("ExpectedBucketOwner"); f.IsValid() {
		expected = f.String()
	}
	b, err := bucket(c, v.FieldByName("Bucket").String(), expected)
	if err != nil {
		return err
	}
	if f := v.FieldByName("ExpectedSourceBucketOwner"); f.IsValid() && f.String() != "" {
		src, err := parseSource(v.FieldByName("CopySource").String())
		if err != nil {
			return err
		}
		if _, err := bucket(c, src.bucket, f.String()); err != nil {
			return err
		}
	}
	if err := before(c, b, in); err != nil {
		return err
	}
	err = s.ask(ctx, in, out)
	var refused *wire.Error
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		// That a key does not exist is told to those who may list its bucket.
		if read := readsIn(c, b, in); read != nil {
			if err := mayList(c, read); err != nil {
				return err
			}
		}
	}
	if err != nil {
		return err
	}
	switch out := out.(type) {
	case *api.GetObjectOutput:
		hideTags(c, b, in.(*api.GetObjectInput).Key, in.(*api.GetObjectInput).VersionId, &out.TagCount)
	case *api.HeadObjectOutput:
		hideTags(c, b, in.(*api.HeadObjectInput).Key, in.(*api.HeadObjectInput).VersionId, &out.TagCount)
	}
	own(out, owner(c.State, b.Account))
	return nil
}

// before is what S3 refuses by what iamd alone knows: who the caller is, and the bucket's settings.
func before(c *service.Call, b *Bucket, in any) error {
	var acl asked
	action, key := "s3:PutObject", ""
	switch in := in.(type) {
	case *api.GetObjectInput:
		return anonymousOverrides(c, in)
	case *api.PutObjectInput:
		acl, key = asked{canned: in.ACL, grants: in.GrantFullControl + in.GrantRead + in.GrantReadACP + in.GrantWriteACP}, in.Key
	case *api.CopyObjectInput:
		acl, key = asked{canned: in.ACL, grants: in.GrantFullControl + in.GrantRead + in.GrantReadACP + in.GrantWriteACP}, in.Key
	case *api.CreateMultipartUploadInput:
		acl, key = asked{canned: in.ACL, grants: in.GrantFullControl + in.GrantRead + in.GrantReadACP + in.GrantWriteACP}, in.Key
	}
	if acl.canned+acl.grants == "" {
		return nil
	}
	return acl.answer(c, b, action, b.arn()+"/"+key)
}

// readsIn is the bucket of the key of which an operation tells, by its error, whether it is there; nil if it does not.
func readsIn(c *service.Call, b *Bucket, in any) *Bucket {
	source := ""
	switch in := in.(type) {
	case *api.GetObjectInput, *api.HeadObjectInput, *api.GetObjectAttributesInput, *api.GetObjectTaggingInput, *api.PutObjectTaggingInput, *api.DeleteObjectTaggingInput:
		return b
	case *api.CopyObjectInput:
		source = in.CopySource
	case *api.UploadPartCopyInput:
		source = in.CopySource
	default:
		return nil
	}
	src, err := parseSource(source)
	if err != nil {
		return b
	}
	if from := buckets.Get(c.State, src.bucket); from != nil {
		return from
	}
	return b
}

// hideTags leaves the number of tags to those who may read them.
func hideTags(c *service.Call, b *Bucket, key, version string, count *int32) {
	if *count > 0 && !c.May(tagging(version), arn.ARN(b.arn()+"/"+key)) {
		*count = 0
	}
}

// ours are the members of inputs that are about accounts, which the upstream does not know,
// or that say how the body travelled to us.
var ours = []string{"ExpectedBucketOwner", "ExpectedSourceBucketOwner", "RequestPayer", "ACL", "GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP"}

// ask sends a call to the upstream and reads its answer.
func (s *Service) ask(ctx context.Context, in, out any) error {
	name := strings.TrimSuffix(reflect.TypeOf(in).Elem().Name(), "Input")
	op := api.Model.Operation(name)
	sent := reflect.New(reflect.TypeOf(in).Elem())
	sent.Elem().Set(reflect.ValueOf(in).Elem())
	for _, member := range ours {
		if f := sent.Elem().FieldByName(member); f.IsValid() {
			f.SetZero()
		}
	}
	var length int64 = -1
	if f := sent.Elem().FieldByName("Body"); f.IsValid() && !f.IsNil() {
		body := f.Interface().(io.ReadCloser)
		if known, ok := body.(interface{ Length() int64 }); ok {
			length = known.Length()
		}
		f.Set(reflect.ValueOf(proxy.Verified(body)))
	}
	r, err := wire.NewRequest(api.Model, op, sent.Interface())
	if err != nil {
		return err
	}
	if r.ContentLength < 0 {
		r.ContentLength = length
	}
	if r.ContentLength < 0 {
		return api.MissingContentLength("You must provide the Content-Length HTTP header.")
	}
	if r.ContentLength == 0 {
		// Nothing of the body is sent, but that it is good is known at its end.
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return err
		}
		r.Body = http.NoBody
	}
	if op.ChecksumRequired {
		r.Header.Del("Content-Md5") // it is of the caller's document, not of this one
	}
	body := &watched{ReadCloser: r.Body}
	r.Body = body
	resp, err := s.upstream.Server.Do(r.WithContext(ctx))
	if body.err != nil { // what was wrong with the caller's body is the caller's to know
		if err == nil {
			resp.Body.Close()
		}
		return body.err
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.Join(&wire.Error{Code: "ServiceUnavailable", Status: http.StatusServiceUnavailable, Message: "The store behind iamd does not answer. Please try again."}, err)
	}
	if err := wire.ReadResponse(api.Model, op, resp, out); err != nil {
		var refused *wire.Error
		if errors.As(err, &refused) {
			switch refused.Code {
			case "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "InvalidToken", "ExpiredToken", "RequestTimeTooSkewed":
				return fmt.Errorf("the store behind iamd refuses iamd itself: %s: %s", refused.Code, refused.Message)
			}
		}
		return err
	}
	return nil
}

// watched remembers what went wrong with a body.
type watched struct {
	io.ReadCloser
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// own puts the bucket's owner in the place of iamd, which is the owner for the upstream.
func own(out any, o *api.Owner) {
	switch out := out.(type) {
	case *api.ListObjectsOutput:
		for i := range out.Contents {
			if out.Contents[i].Owner != nil {
				out.Contents[i].Owner = o
			}
		}
	case *api.ListObjectsV2Output:
		for i := range out.Contents {
			if out.Contents[i].Owner != nil {
				out.Contents[i].Owner = o
			}
		}
	case *api.ListObjectVersionsOutput:
		for i := range out.Versions {
			out.Versions[i].Owner = o
		}
		for i := range out.DeleteMarkers {
			out.DeleteMarkers[i].Owner = o
		}
	case *api.ListPartsOutput:
		out.Owner = o
		out.Initiator = &api.Initiator{ID: o.ID}
	case *api.ListMultipartUploadsOutput:
		for i := range out.Uploads {
			out.Uploads[i].Owner, out.Uploads[i].Initiator = o, &api.Initiator{ID: o.ID}
		}
	}
}

// tagsOf are the tags of a version of an object, for conditions on them; an error is of a
// store that does not tell.
func (s *Service) tagsOf(ctx context.Context, b *Bucket, key, version string) ([]data.Tag, error) {
	if s.upstream == nil {
		o, err := s.data.Stat(b.ID, key, version)
		if err != nil {
			return nil, nil // there is no such object: it has no tags
		}
		return o.Tags, nil
	}
	out := &api.GetObjectTaggingOutput{}
	err := s.ask(ctx, &api.GetObjectTaggingInput{Bucket: b.Name, Key: key, VersionId: version}, out)
	var refused *wire.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		return nil, nil // there is no such object, or it has no tags
	}
	if err != nil {
		return nil, err
	}
	return fromAPI(out.TagSet), nil
}

// makeRoom has the store of the objects make a bucket, and returns how to unmake it.
func (s *Service) makeRoom(ctx context.Context, c *service.Call, b *Bucket) (unmake func() error, err error) {
	if s.upstream == nil {
		return func() error { return s.data.RemoveBucket(b.ID) }, s.data.CreateBucket(b.ID)
	}
	err = s.ask(ctx, &api.HeadBucketInput{Bucket: b.Name}, &api.HeadBucketOutput{})
	var refused *wire.Error
	switch {
	case err == nil && c.Account == s.upstream.Owner:
		return func() error { return nil }, nil // it was there before
	case err == nil:
		return nil, bucketTaken(b.Name)
	case !errors.As(err, &refused) || refused.Status != http.StatusNotFound:
		return nil, err
	}
	if err := s.ask(ctx, &api.CreateBucketInput{Bucket: b.Name}, &api.CreateBucketOutput{}); err != nil {
		return nil, err
	}
	return func() error {
		return s.ask(context.WithoutCancel(ctx), &api.DeleteBucketInput{Bucket: b.Name}, &api.DeleteBucketOutput{})
	}, nil
}

// clearRoom has the store remove a bucket that must be empty, and returns how to make it again.
func (s *Service) clearRoom(ctx context.Context, b *Bucket) (remake func() error, err error) {
	if s.upstream == nil {
		return func() error { return s.data.CreateBucket(b.ID) }, s.data.RemoveBucket(b.ID)
	}
	err = s.ask(ctx, &api.DeleteBucketInput{Bucket: b.Name}, &api.DeleteBucketOutput{})
	var refused *wire.Error
	if errors.As(err, &refused) && refused.Code == "BucketNotEmpty" {
		err = refused.With("BucketName", b.Name)
	}
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		err = nil // it is gone already
	}
	return func() error {
		return s.ask(context.WithoutCancel(ctx), &api.CreateBucketInput{Bucket: b.Name}, &api.CreateBucketOutput{})
	}, err
}

// there finds the bucket of an object that must exist.
func (s *Service) there(ctx context.Context, c *service.Call, name, key, version, owner string) (*Bucket, error) {
	if s.upstream == nil {
		b, _, err := s.stat(c, name, key, version, owner)
		return b, err
	}
	in := &api.HeadObjectInput{Bucket: name, Key: key, VersionId: version, ExpectedBucketOwner: owner}
	if err := s.remote(ctx, c, in, &api.HeadObjectOutput{}); err != nil {
		return nil, err
	}
	return bucket(c, name, owner)
}

// deleteThere has the upstream delete those objects of a call that may be deleted, and adds
// what it says of each to the answer.
func (s *Service) deleteThere(ctx context.Context, c *service.Call, b *Bucket, in *api.DeleteObjectsInput, ids []*api.ObjectIdentifier, out *api.DeleteObjectsOutput) error {
	if len(ids) == 0 {
		return nil
	}
	some := *in
	some.Delete.Objects = nil
	for _, id := range ids {
		some.Delete.Objects = append(some.Delete.Objects, *id)
	}
	done := &api.DeleteObjectsOutput{}
	if err := s.ask(ctx, &some, done); err != nil {
		return err
	}
	out.Deleted, out.Errors = append(out.Deleted, done.Deleted...), append(out.Errors, done.Errors...)
	return nil
}
