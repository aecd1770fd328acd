package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A Bucket is a bucket without its objects.
type Bucket struct {
	Name    string
	ID      string // of its objects in the data store; never used again
	Account string // the owner
	Region  string
	Created time.Time

	Versioning        string `json:",omitzero"` // "" (never), "Enabled", "Suspended"
	Tags              []data.Tag
	ABAC              bool                                // policies see the bucket's tags as aws:ResourceTag
	Ownership         string                              // "" when the controls were deleted
	PublicAccessBlock *api.PublicAccessBlockConfiguration // nil when it was deleted
	BucketKey         bool                                `json:",omitzero"` // kept for whoever configured it

	Policy  identity.Document // principals bound to unique ids
	InForce identity.Document // Policy, with what Block Public Access adds: see policy.go
}

var (
	buckets   = store.NewTable[Bucket]("buckets")     // by name
	bucketsOf = store.NewTable[struct{}]("bucketsof") // account + "/" + name
)

// Tables are the tables that S3 keeps in the state.
func Tables() []store.Checker { return []store.Checker{buckets, bucketsOf} }

const bucketOwnerEnforced = "BucketOwnerEnforced"

func noSuchBucket(name string) *wire.Error {
	return api.NoSuchBucket("The specified bucket does not exist").With("BucketName", name)
}

// bucket finds the bucket of a call. owner is the account that the caller expects to
// own it, "" when none is.
func bucket(c *service.Call, name, owner string) (*Bucket, error) {
	b := buckets.Get(c.State, name)
	if b == nil {
		return nil, noSuchBucket(name)
	}
	if owner != "" && owner != b.Account {
		return nil, api.AccessDenied("Access Denied")
	}
	return b, nil
}

// change changes a bucket that the call has found.
func (s *Service) change(ctx context.Context, c *service.Call, name, owner string, f func(tx *store.Tx, b *Bucket) error) error {
	old, err := bucket(c, name, owner)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(tx *store.Tx) error {
		b := buckets.Get(tx, name)
		if b == nil || b.ID != old.ID {
			return noSuchBucket(name)
		}
		if err := f(tx, b); err != nil {
			return err
		}
		buckets.Put(tx, name, b)
		return nil
	})
}

func (b *Bucket) arn() string { return "arn:aws:s3:::" + b.Name }

func (b *Bucket) versioning() data.Versioning {
	switch b.Versioning {
	case "Enabled":
		return data.Enabled
	case "Suspended":
		return data.Suspended
	}
	return data.Unversioned
}

// shownVersion is a version id as answers have it: none while the bucket was never versioned.
func (b *Bucket) shownVersion(id string) string {
	if b.Versioning == "" {
		return ""
	}
	return id
}

// owner is the owner of a bucket and of all objects in it.
func owner(r store.Reader, account string) *api.Owner {
	a := identity.Accounts.Get(r, account)
	if a == nil {
		return &api.Owner{}
	}
	return &api.Owner{ID: a.CanonicalID}
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)*$`)

// validBucketName follows the User Guide, "General purpose bucket naming rules".
func validBucketName(name string) bool {
	if len(name) < 3 || len(name) > 63 || !bucketName.MatchString(name) || strings.Contains(name, "-.") || strings.Contains(name, ".-") || strings.HasSuffix(name, "-") {
		return false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	for _, prefix := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	for _, suffix := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, suffix) {
			return false
		}
	}
	return true
}

const usEast1 = "us-east-1"

var regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)

// newRegion is where a bucket is made: in the region of the endpoint, which
// LocationConstraint must repeat, except that us-east-1 makes them anywhere.
func newRegion(endpoint string, in *api.CreateBucketInput) (string, error) {
	constraint := ""
	if in.CreateBucketConfiguration != nil {
		constraint = in.CreateBucketConfiguration.LocationConstraint
	}
	if constraint == "EU" {
		constraint = "eu-west-1"
	}
	switch {
	case constraint == "" && endpoint == usEast1:
		return usEast1, nil
	case constraint == "":
		return "", api.IllegalLocationConstraint("The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.")
	case constraint == usEast1 || !regionName.MatchString(constraint):
		return "", api.InvalidLocationConstraint("The specified location-constraint is not valid").With("LocationConstraint", constraint)
	case endpoint != usEast1 && endpoint != constraint:
		return "", api.IllegalLocationConstraint("The %s location constraint is incompatible for the region specific endpoint this request was sent to.", constraint)
	}
	return constraint, nil
}

func (s *Service) createBucket(ctx context.Context, c *service.Call, in *api.CreateBucketInput) (*api.CreateBucketOutput, error) {
	if !validBucketName(in.Bucket) {
		return nil, api.InvalidBucketName("The specified bucket is not valid.").With("BucketName", in.Bucket)
	}
	region, err := newRegion(c.Region, in)
	if err != nil {
		return nil, err
	}
	ownership := bucketOwnerEnforced
	if in.ObjectOwnership != "" {
		ownership = in.ObjectOwnership
	}
	granted := in.GrantFullControl + in.GrantRead + in.GrantReadACP + in.GrantWrite + in.GrantWriteACP
	if acl := in.ACL; acl != "" && acl != "private" || granted != "" {
		if ownership == bucketOwnerEnforced {
			return nil, api.InvalidBucketAclWithObjectOwnership("Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
		}
		return nil, noACLs()
	}
	if v := in.ObjectLockEnabledForBucket; v != nil && *v {
		return nil, notImplemented("x-amz-bucket-object-lock-enabled")
	}
	if in.BucketNamespace == "account-regional" {
		return nil, notImplemented("x-amz-bucket-namespace")
	}
	if in.CreateBucketConfiguration != nil && (in.CreateBucketConfiguration.Bucket != nil || in.CreateBucketConfiguration.Location != nil) {
		return nil, api.NotImplemented("iamd has no directory buckets.")
	}
	var tags []data.Tag
	if in.CreateBucketConfiguration != nil {
		if tags, err = bucketTags(in.CreateBucketConfiguration.Tags); err != nil {
			return nil, err
		}
	}

	var id [16]byte
	rand.Read(id[:]) // never fails: crypto/rand
	b := &Bucket{
		Name: in.Bucket, ID: hex.EncodeToString(id[:]), Account: c.Account, Region: region, Created: c.Time.Truncate(time.Second).UTC(),
		Tags: tags, Ownership: ownership,
		PublicAccessBlock: &api.PublicAccessBlockConfiguration{BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true},
	}
	taken := func(old *Bucket) error {
		switch {
		case old.Account != c.Account:
			return bucketTaken(in.Bucket)
		case old.Region == usEast1 && c.Region == usEast1:
			return errOwned // making one's own bucket again is no error there
		}
		return api.BucketAlreadyOwnedByYou("Your previous request to create the named bucket succeeded and you already own it.").With("BucketName", in.Bucket)
	}
	// The data store comes first, so that a bucket that is known can be put into.
	if old := buckets.Get(c.State, in.Bucket); old != nil {
		err = taken(old)
	} else if unmake, failed := s.makeRoom(ctx, c, b); failed != nil {
		err = failed
	} else {
		err = s.db.Update(ctx, func(tx *store.Tx) error {
			if old := buckets.Get(tx, b.Name); old != nil {
				return taken(old)
			}
			buckets.Put(tx, b.Name, b)
			bucketsOf.Put(tx, b.Account+"/"+b.Name, &struct{}{})
			return nil
		})
		var refused *wire.Error
		if errors.As(err, &refused) || errors.Is(err, errOwned) { // other errors leave open what happened; New puts it right
			if err := unmake(); err != nil {
				return nil, err
			}
		}
	}
	if err != nil && !errors.Is(err, errOwned) {
		return nil, err
	}
	return &api.CreateBucketOutput{Location: "/" + in.Bucket, BucketArn: b.arn()}, nil
}

func bucketTaken(name string) *wire.Error {
	return api.BucketAlreadyExists("The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.").With("BucketName", name)
}

var errOwned = errors.New("the bucket is the caller's already")

func (s *Service) deleteBucket(ctx context.Context, c *service.Call, in *api.DeleteBucketInput) (*api.DeleteBucketOutput, error) {
	old, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	// First no more can be put into it, then it is forgotten.
	remake, err := s.clearRoom(ctx, old)
	if errors.Is(err, data.ErrNotEmpty) {
		text := "The bucket you tried to delete is not empty"
		if old.Versioning != "" {
			text += ". You must delete all versions in the bucket."
		}
		return nil, api.BucketNotEmpty("%s", text).With("BucketName", in.Bucket)
	} else if err != nil {
		return nil, err
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		if b := buckets.Get(tx, in.Bucket); b == nil || b.ID != old.ID {
			return noSuchBucket(in.Bucket)
		}
		buckets.Delete(tx, in.Bucket)
		bucketsOf.Delete(tx, old.Account+"/"+in.Bucket)
		return nil
	})
	var refused *wire.Error
	if err != nil && !errors.As(err, &refused) {
		// It may still be known: let it be usable.
		return nil, errors.Join(err, remake())
	}
	if err != nil {
		return nil, err
	}
	return &api.DeleteBucketOutput{}, nil
}

func (s *Service) headBucket(ctx context.Context, c *service.Call, in *api.HeadBucketInput) (*api.HeadBucketOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &api.HeadBucketOutput{BucketRegion: b.Region, BucketArn: b.arn()}, nil
}

func (s *Service) getBucketLocation(ctx context.Context, c *service.Call, in *api.GetBucketLocationInput) (*api.GetBucketLocationOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	out := &api.GetBucketLocationOutput{}
	if b.Region != usEast1 {
		out.LocationConstraint = b.Region
	}
	return out, nil
}

func (s *Service) listBuckets(ctx context.Context, c *service.Call, in *api.ListBucketsInput) (*api.ListBucketsOutput, error) {
	out := &api.ListBucketsOutput{Owner: owner(c.State, c.Account), Prefix: in.Prefix, Buckets: []api.Bucket{}}
	after := ""
	if in.ContinuationToken != "" {
		var ok bool
		if after, ok = parseToken(in.ContinuationToken); !ok {
			return nil, invalidToken(in.ContinuationToken)
		}
	}
	// Only a paged listing has all of a bucket's members.
	paged := in.MaxBuckets != nil || in.ContinuationToken != "" || in.Prefix != "" || in.BucketRegion != ""
	stem := c.Account + "/"
	if after != "" {
		after = stem + after
	}
	for key := range bucketsOf.From(c.State, stem+in.Prefix, after) {
		b := buckets.Get(c.State, key[len(stem):])
		if in.BucketRegion != "" && b.Region != in.BucketRegion {
			continue
		}
		if in.MaxBuckets != nil && len(out.Buckets) == int(*in.MaxBuckets) {
			out.ContinuationToken = newToken(out.Buckets[len(out.Buckets)-1].Name)
			break
		}
		shown := api.Bucket{Name: b.Name, CreationDate: b.Created, BucketArn: b.arn()}
		if paged {
			shown.BucketRegion = b.Region
		}
		out.Buckets = append(out.Buckets, shown)
	}
	return out, nil
}

// notImplemented is S3's answer to a header whose meaning it does not serve.
func notImplemented(header string) *wire.Error {
	return api.NotImplemented("A header you provided implies functionality that is not implemented").With("Header", header)
}

// noACLs is the answer to an ACL where ownership would allow one.
func noACLs() *wire.Error {
	return api.NotImplemented("iamd grants access by policies. Of ACLs it knows private and bucket-owner-full-control.")
}
