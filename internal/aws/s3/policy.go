package s3

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
	"github.com/iamd-dev/iamd/policy"
)

// maxPolicy is the size of a bucket policy in bytes (User Guide, "Bucket policies").
const maxPolicy = 20 << 10

// bindPolicy checks a bucket's policy and binds its principals to unique ids.
func bindPolicy(r store.Reader, bucket, text string) (identity.Document, *policy.Policy, error) {
	if len(text) > maxPolicy {
		return identity.Document{}, nil, api.MalformedPolicy("Policy exceeds the maximum allowed document size.")
	}
	p, err := policy.Check([]byte(text), policy.Resource)
	if err != nil {
		return identity.Document{}, nil, api.MalformedPolicy("%s", err.Error())
	}
	for i := range p.Statements {
		if text := misfit(bucket, &p.Statements[i]); text != "" {
			return identity.Document{}, nil, api.MalformedPolicy("%s", text)
		}
	}
	d, err := identity.BindTrust(r, text)
	if bad, ok := errors.AsType[*identity.PrincipalError](err); ok {
		return identity.Document{}, nil, api.MalformedPolicy("Invalid principal in policy").With("Detail", `"`+bad.Kind+`" : "`+bad.Value+`"`)
	}
	return d, p, err
}

// misfit tells what is wrong with a statement's resources: that they are of another
// bucket, or that no action applies to any of them.
func misfit(bucket string, s *policy.Statement) string {
	var ofBucket, ofObjects bool
	for _, r := range append(s.Resource, s.NotResource...) {
		rest, ok := strings.CutPrefix(arn.ARN(r).Resource(), bucket)
		if !ok || rest != "" && rest[0] != '/' && rest[0] != '*' {
			return "Policy has invalid resource"
		}
		ofBucket = ofBucket || rest == "" || rest[0] == '*'
		ofObjects = ofObjects || rest != ""
	}
	if s.NotAction != nil || s.NotResource != nil {
		return ""
	}
	for _, name := range s.Action {
		a, ok := reference.LookupAction(name)
		if !ok && !strings.ContainsAny(name, "*?") {
			return "Policy has invalid action"
		}
		if !ok { // a pattern
			continue
		}
		applies := false
		for _, on := range a.Resources {
			applies = applies || on.Name == "bucket" && ofBucket || on.Name == "object" && ofObjects
		}
		if !applies {
			return "Action does not apply to any resource(s) in statement"
		}
	}
	return ""
}

// inForce is the policy that decides. RestrictPublicBuckets leaves a public policy in
// force for the owner's account and for AWS services only: that is one statement more.
func (b *Bucket) inForce() (identity.Document, error) {
	if b.Policy.IsZero() || b.PublicAccessBlock == nil || !b.PublicAccessBlock.RestrictPublicBuckets {
		return b.Policy, nil
	}
	p, err := policy.Parse([]byte(b.Policy.String()))
	if err != nil {
		return identity.Document{}, err
	}
	if !isPublic(p) {
		return b.Policy, nil
	}
	restricted := *p
	restricted.Statements = append(slices.Clone(p.Statements), policy.Statement{
		Sid:       "RestrictPublicBuckets",
		Effect:    "Deny",
		Principal: []policy.Name{{Value: "*"}},
		Action:    []string{"s3:*"},
		Resource:  []string{b.arn(), b.arn() + "/*"},
		Condition: []policy.Condition{
			{Operator: "StringNotEquals", Key: "aws:PrincipalAccount", Values: []string{b.Account}},
			{Operator: "BoolIfExists", Key: "aws:PrincipalIsAWSService", Values: []string{"false"}},
		},
	})
	return identity.NewDocument(restricted.String()), nil
}

// fixing are the condition keys that keep a statement for everyone from being public,
// when they are compared with fixed values (User Guide, "Blocking public access to
// your Amazon S3 storage", "The meaning of public").
var fixing = []string{
	"aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths",
	"aws:sourceaccount", "aws:sourcearn", "aws:sourceip", "aws:sourceorgid", "aws:sourceowner", "aws:sourcevpc", "aws:sourcevpce", "aws:userid",
	"s3:dataaccesspointaccount", "s3:dataaccesspointarn", "s3:x-amz-server-side-encryption-aws-kms-key-id",
}

// isPublic reports whether the policy grants something to everyone.
func isPublic(p *policy.Policy) bool {
	for i := range p.Statements {
		s := &p.Statements[i]
		if s.Effect != "Allow" {
			continue
		}
		everyone := s.NotPrincipal != nil
		for _, n := range s.Principal {
			everyone = everyone || strings.Contains(n.Value, "*")
		}
		if everyone && !slices.ContainsFunc(s.Condition, fixes) {
			return true
		}
	}
	return false
}

// fixes reports whether a condition restricts its statement to fixed values.
func fixes(c policy.Condition) bool {
	operator := strings.TrimPrefix(c.Operator, "ForAnyValue:")
	switch operator {
	case "StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "IpAddress":
	default:
		return false
	}
	key := strings.ToLower(c.Key)
	if !slices.Contains(fixing, key) || len(c.Values) == 0 {
		return false
	}
	for _, v := range c.Values {
		if strings.ContainsAny(v, "*?") || strings.Contains(v, "${") {
			return false
		}
		if key == "aws:sourceip" && broad(v) {
			return false
		}
	}
	return true
}

// broad reports whether a range of addresses is so wide that it is as good as everyone.
func broad(cidr string) bool {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		_, err := netip.ParseAddr(cidr)
		return err != nil
	}
	if p.Addr().IsPrivate() {
		return false
	}
	return p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 32
}

// ownersOnly is for the calls that S3 lets only identities of the owner's account make.
func ownersOnly(c *service.Call, b *Bucket, method string) error {
	if c.Account == b.Account {
		return nil
	}
	return api.MethodNotAllowed("The specified method is not allowed against this resource.").With("Method", method).With("ResourceType", "BUCKETPOLICY")
}

func noSuchBucketPolicy(name string) *wire.Error {
	return api.NoSuchBucketPolicy("The bucket policy does not exist").With("BucketName", name)
}

func (s *Service) putBucketPolicy(ctx context.Context, c *service.Call, in *api.PutBucketPolicyInput) (*api.PutBucketPolicyOutput, error) {
	return &api.PutBucketPolicyOutput{}, s.change(ctx, c, in.Bucket, in.ExpectedBucketOwner, func(tx *store.Tx, b *Bucket) error {
		if err := ownersOnly(c, b, "PUT"); err != nil {
			return err
		}
		d, p, err := bindPolicy(tx, b.Name, in.Policy)
		if err != nil {
			return err
		}
		if b.PublicAccessBlock != nil && b.PublicAccessBlock.BlockPublicPolicy && isPublic(p) {
			return api.AccessDenied(`User: %s is not authorized to perform: s3:PutBucketPolicy on resource: "%s" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access`, c.Caller.ARN, b.arn())
		}
		b.Policy = d
		b.InForce, err = b.inForce()
		return err
	})
}

func (s *Service) getBucketPolicy(ctx context.Context, c *service.Call, in *api.GetBucketPolicyInput) (*api.GetBucketPolicyOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if err := ownersOnly(c, b, "GET"); err != nil {
		return nil, err
	}
	if b.Policy.IsZero() {
		return nil, noSuchBucketPolicy(in.Bucket)
	}
	return &api.GetBucketPolicyOutput{Policy: identity.ShowTrust(c.State, b.Policy)}, nil
}

func (s *Service) deleteBucketPolicy(ctx context.Context, c *service.Call, in *api.DeleteBucketPolicyInput) (*api.DeleteBucketPolicyOutput, error) {
	return &api.DeleteBucketPolicyOutput{}, s.change(ctx, c, in.Bucket, in.ExpectedBucketOwner, func(tx *store.Tx, b *Bucket) error {
		if err := ownersOnly(c, b, "DELETE"); err != nil {
			return err
		}
		b.Policy, b.InForce = identity.Document{}, identity.Document{}
		return nil
	})
}

func (s *Service) getBucketPolicyStatus(ctx context.Context, c *service.Call, in *api.GetBucketPolicyStatusInput) (*api.GetBucketPolicyStatusOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if b.Policy.IsZero() {
		return nil, noSuchBucketPolicy(in.Bucket)
	}
	return &api.GetBucketPolicyStatusOutput{PolicyStatus: &api.PolicyStatus{IsPublic: isPublic(b.Policy.Policy())}}, nil
}

func (s *Service) getPublicAccessBlock(ctx context.Context, c *service.Call, in *api.GetPublicAccessBlockInput) (*api.GetPublicAccessBlockOutput, error) {
	b, err := bucket(c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if b.PublicAccessBlock == nil {
		return nil, api.NoSuchPublicAccessBlockConfiguration("The public access block configuration was not found").With("BucketName", in.Bucket)
	}
	return &api.GetPublicAccessBlockOutput{PublicAccessBlockConfiguration: b.PublicAccessBlock}, nil
}

func (s *Service) putPublicAccessBlock(ctx context.Context, c *service.Call, in *api.PutPublicAccessBlockInput) (*api.PutPublicAccessBlockOutput, error) {
	return &api.PutPublicAccessBlockOutput{}, s.change(ctx, c, in.Bucket, in.ExpectedBucketOwner, func(tx *store.Tx, b *Bucket) (err error) {
		b.PublicAccessBlock = &in.PublicAccessBlockConfiguration
		b.InForce, err = b.inForce()
		return err
	})
}

func (s *Service) deletePublicAccessBlock(ctx context.Context, c *service.Call, in *api.DeletePublicAccessBlockInput) (*api.DeletePublicAccessBlockOutput, error) {
	return &api.DeletePublicAccessBlockOutput{}, s.change(ctx, c, in.Bucket, in.ExpectedBucketOwner, func(tx *store.Tx, b *Bucket) error {
		b.PublicAccessBlock, b.InForce = nil, b.Policy
		return nil
	})
}
