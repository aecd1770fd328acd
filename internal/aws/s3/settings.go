package s3

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

func malformedXML() *wire.Error {
	return api.MalformedXML("The XML you provided was not well-formed or did not validate against our published schema")
}

// Versioning.

func (s *Service) getBucketVersioning(ctx context.Context, c *service.Call, in *api.GetBucketVersioningInput) (*api.GetBucketVersioningOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &api.GetBucketVersioningOutput{Status: b.Versioning}, nil
}

func (s *Service) putBucketVersioning(ctx context.Context, c *service.Call, in *api.PutBucketVersioningInput) (*api.PutBucketVersioningOutput, error) {
	if in.VersioningConfiguration.MFADelete == "Enabled" {
		return nil, api.NotImplemented("iamd does not implement MFA delete; a policy with aws:MultiFactorAuthPresent does the same.")
	}
	switch in.VersioningConfiguration.Status {
	case "Enabled", "Suspended":
	case "":
		return nil, api.IllegalVersioningConfiguration("The Versioning element must be specified")
	default:
		return nil, malformedXML()
	}
	return &api.PutBucketVersioningOutput{}, s.change(ctx, c, in.Bucket, in.ExpectedBucketOwner, func(tx *store.Tx, b *Bucket) error {
		b.Versioning = in.VersioningConfiguration.Status
		return nil
	})
}

// Tags.

func fromAPI(tags []api.Tag) []data.Tag {
	all := make([]data.Tag, len(tags))
	for i, t := range tags {
		all[i] = data.Tag{Key: t.Key, Value: t.Value}
	}
	return all
}

func toAPI(tags []data.Tag) []api.Tag {
	all := make([]api.Tag, len(tags))
	for i, t := range tags {
		all[i] = api.Tag{Key: t.Key, Value: t.Value}
	}
	return all
}

// validTags checks tags as S3 does (User Guide, "User-defined tag restrictions").
func validTags(tags []data.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > 128 || !taggable(t.Key):
			return api.InvalidTag("The TagKey you have provided is invalid").With("TagKey", t.Key)
		case utf8.RuneCountInString(t.Value) > 256 || !taggable(t.Value):
			return api.InvalidTag("The TagValue you have provided is invalid").With("TagKey", t.Key).With("TagValue", t.Value)
		case strings.HasPrefix(t.Key, "aws:"):
			return api.InvalidTag("System tags cannot be added/updated by requester").With("TagKey", t.Key)
		case seen[t.Key]:
			return api.InvalidTag("Cannot provide multiple Tags with the same key").With("TagKey", t.Key)
		}
		seen[t.Key] = true
	}
	return nil
}

func bucketTags(tags []api.Tag) ([]data.Tag, error) {
	if len(tags) > 50 {
		return nil, &wire.Error{Code: "BadRequest", Message: "Bucket tag count cannot be greater than 50"}
	}
	all := fromAPI(tags)
	return all, validTags(all)
}

func (s *Service) getBucketTagging(ctx context.Context, c *service.Call, in *api.GetBucketTaggingInput) (*api.GetBucketTaggingOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if len(b.Tags) == 0 {
		return nil, api.NoSuchTagSet("The TagSet does not exist").With("BucketName", in.Bucket)
	}
	return &api.GetBucketTaggingOutput{TagSet: toAPI(b.Tags)}, nil
}

func (s *Service) putBucketTagging(ctx context.Context, c *service.Call, in *api.PutBucketTaggingInput) (*api.PutBucketTaggingOutput, error) {
	tags, err := bucketTags(in.Tagging.TagSet)
	if err != nil {
		return nil, err
	}
	return &api.PutBucketTaggingOutput{}, s.change(ctx, c, in.Bucket, in.ExpectedBucketOwner, func(tx *store.Tx, b *Bucket) error {
		b.Tags = tags
		return nil
	})
}

func (s *Service) deleteBucketTagging(ctx context.Context, c *service.Call, in *api.DeleteBucketTaggingInput) (*api.DeleteBucketTaggingOutput, error) {
	return &api.DeleteBucketTaggingOutput{}, s.change(ctx, c, in.Bucket, in.ExpectedBucketOwner, func(tx *store.Tx, b *Bucket) error {
		b.Tags = nil
		return nil
	})
}

// Whether policies see a bucket's tags as aws:ResourceTag (User Guide, "Enabling ABAC").

func (s *Service) getBucketAbac(ctx context.Context, c *service.Call, in *api.GetBucketAbacInput) (*api.GetBucketAbacOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	status := "Disabled"
	if b.ABAC {
		status = "Enabled"
	}
	return &api.GetBucketAbacOutput{AbacStatus: &api.AbacStatus{Status: status}}, nil
}

func (s *Service) putBucketAbac(ctx context.Context, c *service.Call, in *api.PutBucketAbacInput) (*api.PutBucketAbacOutput, error) {
	if in.AbacStatus.Status != "Enabled" && in.AbacStatus.Status != "Disabled" {
		return nil, malformedXML()
	}
	return &api.PutBucketAbacOutput{}, s.change(ctx, c, in.Bucket, in.ExpectedBucketOwner, func(tx *store.Tx, b *Bucket) error {
		b.ABAC = in.AbacStatus.Status == "Enabled"
		return nil
	})
}

// Encryption: what is configured, of which AES256 is all there is.

const aes256 = "AES256"

func (s *Service) getBucketEncryption(ctx context.Context, c *service.Call, in *api.GetBucketEncryptionInput) (*api.GetBucketEncryptionOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &api.GetBucketEncryptionOutput{ServerSideEncryptionConfiguration: &api.ServerSideEncryptionConfiguration{Rules: []api.ServerSideEncryptionRule{{
		ApplyServerSideEncryptionByDefault: &api.ServerSideEncryptionByDefault{SSEAlgorithm: aes256},
		BucketKeyEnabled:                   b.BucketKey,
	}}}}, nil
}

func (s *Service) putBucketEncryption(ctx context.Context, c *service.Call, in *api.PutBucketEncryptionInput) (*api.PutBucketEncryptionOutput, error) {
	rules := in.ServerSideEncryptionConfiguration.Rules
	if len(rules) != 1 {
		return nil, malformedXML()
	}
	if d := rules[0].ApplyServerSideEncryptionByDefault; d != nil && d.SSEAlgorithm != aes256 {
		return nil, api.NotImplemented("iamd has no KMS keys. Supported value: AES256.")
	}
	return &api.PutBucketEncryptionOutput{}, s.change(ctx, c, in.Bucket, in.ExpectedBucketOwner, func(tx *store.Tx, b *Bucket) error {
		b.BucketKey = rules[0].BucketKeyEnabled
		return nil
	})
}

func (s *Service) deleteBucketEncryption(ctx context.Context, c *service.Call, in *api.DeleteBucketEncryptionInput) (*api.DeleteBucketEncryptionOutput, error) {
	return &api.DeleteBucketEncryptionOutput{}, s.change(ctx, c, in.Bucket, in.ExpectedBucketOwner, func(tx *store.Tx, b *Bucket) error {
		b.BucketKey = false
		return nil
	})
}

// Ownership and ACLs. Every object belongs to the bucket's owner, whatever the
// controls say; they decide how a request for an ACL is answered.

func (s *Service) getBucketOwnershipControls(ctx context.Context, c *service.Call, in *api.GetBucketOwnershipControlsInput) (*api.GetBucketOwnershipControlsOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if b.Ownership == "" {
		return nil, api.OwnershipControlsNotFoundError("The bucket ownership controls were not found").With("BucketName", in.Bucket)
	}
	return &api.GetBucketOwnershipControlsOutput{OwnershipControls: &api.OwnershipControls{Rules: []api.OwnershipControlsRule{{ObjectOwnership: b.Ownership}}}}, nil
}

func (s *Service) putBucketOwnershipControls(ctx context.Context, c *service.Call, in *api.PutBucketOwnershipControlsInput) (*api.PutBucketOwnershipControlsOutput, error) {
	rules := in.OwnershipControls.Rules
	if len(rules) != 1 {
		return nil, malformedXML()
	}
	switch rules[0].ObjectOwnership {
	case bucketOwnerEnforced, "BucketOwnerPreferred", "ObjectWriter":
	default:
		return nil, malformedXML()
	}
	return &api.PutBucketOwnershipControlsOutput{}, s.change(ctx, c, in.Bucket, in.ExpectedBucketOwner, func(tx *store.Tx, b *Bucket) error {
		b.Ownership = rules[0].ObjectOwnership
		return nil
	})
}

func (s *Service) deleteBucketOwnershipControls(ctx context.Context, c *service.Call, in *api.DeleteBucketOwnershipControlsInput) (*api.DeleteBucketOwnershipControlsOutput, error) {
	return &api.DeleteBucketOwnershipControlsOutput{}, s.change(ctx, c, in.Bucket, in.ExpectedBucketOwner, func(tx *store.Tx, b *Bucket) error {
		b.Ownership = ""
		return nil
	})
}

// fullControl is the only ACL there is: the owner may everything.
func fullControl(o *api.Owner) []api.Grant {
	return []api.Grant{{Grantee: &api.Grantee{Type: "CanonicalUser", ID: o.ID}, Permission: "FULL_CONTROL"}}
}

func (s *Service) getBucketAcl(ctx context.Context, c *service.Call, in *api.GetBucketAclInput) (*api.GetBucketAclOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	o := owner(c.State, b.Account)
	return &api.GetBucketAclOutput{Owner: o, Grants: fullControl(o)}, nil
}

// An asked is an ACL that a request asks for, in any of its three forms.
type asked struct {
	canned string
	grants string // of all headers
	policy *api.AccessControlPolicy
}

// answer is S3's answer to a request for an ACL: nil for one that changes nothing.
func (a asked) answer(c *service.Call, b *Bucket, action, resource string) error {
	if a.canned != "" && a.grants != "" {
		return api.InvalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
	}
	if b.Ownership == bucketOwnerEnforced {
		if a.canned == "bucket-owner-full-control" {
			return nil
		}
		return api.AccessControlListNotSupported("The bucket does not allow ACLs")
	}
	if a.canned == "private" || a.canned == "bucket-owner-full-control" {
		return nil
	}
	if strings.HasPrefix(a.canned, "public-") || a.canned == "authenticated-read" {
		if p := b.PublicAccessBlock; p != nil && p.BlockPublicAcls {
			return api.AccessDenied(`User: %s is not authorized to perform: %s on resource: "%s" because public ACLs are prevented by the BlockPublicAcls setting in S3 Block Public Access`, c.Caller.ARN, action, resource)
		}
	}
	if a.policy != nil && a.canned == "" && a.grants == "" {
		o := owner(c.State, b.Account)
		only := len(a.policy.Grants) > 0
		for _, g := range a.policy.Grants {
			only = only && g.Permission == "FULL_CONTROL" && g.Grantee != nil && g.Grantee.ID == o.ID
		}
		if only {
			return nil
		}
	}
	return noACLs()
}

func (s *Service) putBucketAcl(ctx context.Context, c *service.Call, in *api.PutBucketAclInput) (*api.PutBucketAclOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	a := asked{in.ACL, in.GrantFullControl + in.GrantRead + in.GrantReadACP + in.GrantWrite + in.GrantWriteACP, in.AccessControlPolicy}
	return &api.PutBucketAclOutput{}, a.answer(c, b, "s3:PutBucketAcl", b.arn())
}

func (s *Service) getObjectAcl(ctx context.Context, c *service.Call, in *api.GetObjectAclInput) (*api.GetObjectAclOutput, error) {
	b, err := s.there(ctx, c, in.Bucket, in.Key, in.VersionId, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	o := owner(c.State, b.Account)
	return &api.GetObjectAclOutput{Owner: o, Grants: fullControl(o)}, nil
}

func (s *Service) putObjectAcl(ctx context.Context, c *service.Call, in *api.PutObjectAclInput) (*api.PutObjectAclOutput, error) {
	b, err := s.there(ctx, c, in.Bucket, in.Key, in.VersionId, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	a := asked{in.ACL, in.GrantFullControl + in.GrantRead + in.GrantReadACP + in.GrantWrite + in.GrantWriteACP, in.AccessControlPolicy}
	return &api.PutObjectAclOutput{}, a.answer(c, b, "s3:PutObjectAcl", b.arn()+"/"+in.Key)
}

// What a bucket does not have, as S3 says it of a new one.

func (s *Service) getBucketAccelerateConfiguration(ctx context.Context, c *service.Call, in *api.GetBucketAccelerateConfigurationInput) (*api.GetBucketAccelerateConfigurationOutput, error) {
	_, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	return &api.GetBucketAccelerateConfigurationOutput{}, err
}

func (s *Service) getBucketLogging(ctx context.Context, c *service.Call, in *api.GetBucketLoggingInput) (*api.GetBucketLoggingOutput, error) {
	_, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	return &api.GetBucketLoggingOutput{}, err
}

func (s *Service) getBucketNotificationConfiguration(ctx context.Context, c *service.Call, in *api.GetBucketNotificationConfigurationInput) (*api.GetBucketNotificationConfigurationOutput, error) {
	_, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	return &api.GetBucketNotificationConfigurationOutput{}, err
}

func (s *Service) getBucketRequestPayment(ctx context.Context, c *service.Call, in *api.GetBucketRequestPaymentInput) (*api.GetBucketRequestPaymentOutput, error) {
	_, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	return &api.GetBucketRequestPaymentOutput{Payer: "BucketOwner"}, err
}

func (s *Service) putBucketRequestPayment(ctx context.Context, c *service.Call, in *api.PutBucketRequestPaymentInput) (*api.PutBucketRequestPaymentOutput, error) {
	if in.RequestPaymentConfiguration.Payer != "BucketOwner" {
		return nil, api.NotImplemented("iamd charges nobody. Supported value: BucketOwner.")
	}
	_, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	return &api.PutBucketRequestPaymentOutput{}, err
}

func (s *Service) getBucketCors(ctx context.Context, c *service.Call, in *api.GetBucketCorsInput) (*api.GetBucketCorsOutput, error) {
	return nil, absent(c, in.Bucket, in.ExpectedBucketOwner, api.NoSuchCORSConfiguration("The CORS configuration does not exist"))
}

func (s *Service) getBucketLifecycleConfiguration(ctx context.Context, c *service.Call, in *api.GetBucketLifecycleConfigurationInput) (*api.GetBucketLifecycleConfigurationOutput, error) {
	return nil, absent(c, in.Bucket, in.ExpectedBucketOwner, api.NoSuchLifecycleConfiguration("The lifecycle configuration does not exist"))
}

func (s *Service) getBucketReplication(ctx context.Context, c *service.Call, in *api.GetBucketReplicationInput) (*api.GetBucketReplicationOutput, error) {
	return nil, absent(c, in.Bucket, in.ExpectedBucketOwner, api.ReplicationConfigurationNotFoundError("The replication configuration was not found"))
}

func (s *Service) getBucketWebsite(ctx context.Context, c *service.Call, in *api.GetBucketWebsiteInput) (*api.GetBucketWebsiteOutput, error) {
	return nil, absent(c, in.Bucket, in.ExpectedBucketOwner, api.NoSuchWebsiteConfiguration("The specified bucket does not have a website configuration"))
}

func (s *Service) getObjectLockConfiguration(ctx context.Context, c *service.Call, in *api.GetObjectLockConfigurationInput) (*api.GetObjectLockConfigurationOutput, error) {
	return nil, absent(c, in.Bucket, in.ExpectedBucketOwner, api.ObjectLockConfigurationNotFoundError("Object Lock configuration does not exist for this bucket"))
}

// absent is the error that a bucket lacks something, if there is the bucket.
func absent(c *service.Call, name, owner string, e *wire.Error) error {
	if _, err := bucket(c, name, owner); err != nil {
		return err
	}
	return e.With("BucketName", name)
}
