// Package s3 is Amazon S3: buckets, objects with versions and multipart uploads,
// and the policies and settings that decide who may reach them.
//
//	s, err := s3.New(db, objects)
//	table := s.AWS()
//
// A bucket is an entity in the state, because decisions need it: its owner, its
// policy, whether it is public. What it holds is in package data, under the
// bucket's id, which is never used again: a bucket that is deleted and made anew
// shows nothing of the old one.
//
// The words:
//
//   - A bucket's policy is kept as Policy, the text with principals bound to unique
//     ids, and decides as InForce, which has one statement more while Block Public
//     Access restricts the bucket: see policy.go.
//   - The current version of a key is the newest; a key whose newest version is a
//     delete marker is not there. Who asks for a key that is not there is told so
//     only with s3:ListBucket, and is refused otherwise.
//   - A precondition (If-Match and its kin) of a write is decided inside the
//     transaction that writes.
//
// # What is different from AWS
//
// Bodies are on this machine's disk as they are: the answer AES256 says what the
// bucket is configured for, not that iamd encrypts. There are no ACLs other than
// the owner's, no keys of KMS or of customers, no Object Lock, lifecycle,
// replication, notifications or websites; declined.txt has a line for each. Storage
// classes are kept as a label, without those that need a restore.
package s3

import (
	"context"
	_ "embed"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

//go:embed declined.txt
var declined string

// A Service is S3 over a state and a store of objects.
type Service struct {
	db       *store.DB
	data     *data.DB  // nil before an upstream
	upstream *Upstream // nil: the objects are here
}

// New returns S3. It puts right what a crash may have left between the two stores:
// a bucket that the state knows and the other does not, or an empty one that is
// known only there.
func New(db *store.DB, objects *data.DB) (*Service, error) {
	s := &Service{db: db, data: objects}
	ids, err := objects.Buckets()
	if err != nil {
		return nil, err
	}
	forgotten := map[string]bool{}
	for _, id := range ids {
		forgotten[id] = true
	}
	for _, b := range buckets.All(db.View(), "") {
		if !forgotten[b.ID] {
			if err := objects.CreateBucket(b.ID); err != nil {
				return nil, err
			}
		}
		delete(forgotten, b.ID)
	}
	for id := range forgotten {
		if err := objects.RemoveBucket(id); err != nil && err != data.ErrNotEmpty {
			return nil, err
		}
	}
	return s, nil
}

// AWS returns the service's operations. Actions are those of the Service
// Authorization Reference, which are often not named as the operations.
func (s *Service) AWS() *service.Service {
	bucket := service.ARN("arn:aws:s3:::{Bucket}")
	object := service.ARN("arn:aws:s3:::{Bucket}/{Key}")
	action, key := service.Action, service.Key
	// versioned is a permission that has another name for calls that name a version.
	versioned := func(current, named policy.Action, more ...service.Clause) []service.Clause {
		other := append([]service.Clause{service.When("VersionId"), key("s3:versionid", "{VersionId}")}, more...)
		return append([]service.Clause{action(current), service.Unless("VersionId"), service.Also(named, nil, other...)}, more...)
	}

	acl := []service.Clause{
		key("s3:x-amz-acl", "{ACL}"),
		key("s3:x-amz-grant-full-control", "{GrantFullControl}"),
		key("s3:x-amz-grant-read", "{GrantRead}"),
		key("s3:x-amz-grant-read-acp", "{GrantReadACP}"),
		key("s3:x-amz-grant-write-acp", "{GrantWriteACP}"),
	}
	bucketACL := append(acl[:len(acl):len(acl)], key("s3:x-amz-grant-write", "{GrantWrite}"))
	tagging := service.Also("s3:PutObjectTagging", nil, service.When("Tagging"))
	// What a new object is made with: PutObject, CopyObject, CreateMultipartUpload.
	made := append(acl[:len(acl):len(acl)],
		key("s3:x-amz-server-side-encryption", "{ServerSideEncryption}"),
		key("s3:x-amz-server-side-encryption-aws-kms-key-id", "{SSEKMSKeyId}"),
		key("s3:x-amz-server-side-encryption-customer-algorithm", "{SSECustomerAlgorithm}"),
		key("s3:x-amz-storage-class", "{StorageClass}"),
		key("s3:x-amz-website-redirect-location", "{WebsiteRedirectLocation}"),
		key("s3:object-lock-mode", "{ObjectLockMode}"),
		key("s3:object-lock-legal-hold", "{ObjectLockLegalHoldStatus}"),
		service.Data, tagging)
	// Who may compare an entity tag learns it: User Guide, "Conditional requests".
	preconditions := []service.Clause{key("s3:if-match", "{IfMatch}"), key("s3:if-none-match", "{IfNoneMatch}"),
		service.Also("s3:GetObject", nil, service.When("IfMatch"))}
	creates := key("s3:ObjectCreationOperation", "true")
	put := func(more ...service.Clause) []service.Clause {
		return append(append([]service.Clause{action("s3:PutObject")}, more...), made...)
	}
	listing := []service.Clause{key("s3:prefix", "{Prefix}"), key("s3:delimiter", "{Delimiter}"), key("s3:max-keys", "{MaxKeys}"), service.Data}

	t := service.New(api.Model, declined,
		//             operation                     on             action, and
		service.Handle(s.listBuckets, service.Any, action("s3:ListAllMyBuckets")),
		service.Handle(s.createBucket, service.On(newBucket), append(bucketACL[:len(bucketACL):len(bucketACL)],
			key("s3:locationconstraint", "{CreateBucketConfiguration.LocationConstraint}"),
			key("s3:x-amz-object-ownership", "{ObjectOwnership}"),
			service.Tags("CreateBucketConfiguration.Tags"),
			service.Also("s3:TagResource", nil, service.When("CreateBucketConfiguration.Tags"), service.Tags("CreateBucketConfiguration.Tags")),
			service.Also("s3:PutBucketOwnershipControls", nil, service.When("ObjectOwnership")),
			service.Also("s3:PutBucketAcl", nil, service.When("ACL")))...),
		service.Handle(s.headBucket, bucket, action("s3:ListBucket")),
		service.Handle(s.deleteBucket, bucket),
		service.Handle(s.getBucketLocation, bucket),

		held(s, s.getBucketVersioning, bucket),
		held(s, s.putBucketVersioning, bucket),
		service.Handle(s.getBucketTagging, bucket),
		service.Handle(s.putBucketTagging, bucket, service.Tags("Tagging.TagSet")),
		service.Handle(s.deleteBucketTagging, bucket, action("s3:PutBucketTagging")),
		service.Handle(s.getBucketAbac, bucket),
		service.Handle(s.putBucketAbac, bucket),
		held(s, s.getBucketEncryption, bucket, action("s3:GetEncryptionConfiguration")),
		held(s, s.putBucketEncryption, bucket, action("s3:PutEncryptionConfiguration")),
		held(s, s.deleteBucketEncryption, bucket, action("s3:PutEncryptionConfiguration")),
		service.Handle(s.getBucketOwnershipControls, bucket),
		service.Handle(s.putBucketOwnershipControls, bucket),
		service.Handle(s.deleteBucketOwnershipControls, bucket, action("s3:PutBucketOwnershipControls")),
		service.Handle(s.getPublicAccessBlock, bucket, action("s3:GetBucketPublicAccessBlock")),
		service.Handle(s.putPublicAccessBlock, bucket, action("s3:PutBucketPublicAccessBlock")),
		service.Handle(s.deletePublicAccessBlock, bucket, action("s3:PutBucketPublicAccessBlock")),
		service.Handle(s.getBucketPolicy, bucket),
		service.Handle(s.putBucketPolicy, bucket),
		service.Handle(s.deleteBucketPolicy, bucket),
		service.Handle(s.getBucketPolicyStatus, bucket),
		service.Handle(s.getBucketAcl, bucket),
		service.Handle(s.putBucketAcl, bucket, bucketACL...),
		service.Handle(s.getObjectAcl, object, versioned("s3:GetObjectAcl", "s3:GetObjectVersionAcl")...),
		service.Handle(s.putObjectAcl, object, versioned("s3:PutObjectAcl", "s3:PutObjectVersionAcl", acl...)...),

		// What a bucket does not have, and tools ask for.
		service.Handle(s.getBucketAccelerateConfiguration, bucket, action("s3:GetAccelerateConfiguration")),
		service.Handle(s.getBucketCors, bucket, action("s3:GetBucketCORS")),
		service.Handle(s.getBucketLifecycleConfiguration, bucket, action("s3:GetLifecycleConfiguration")),
		service.Handle(s.getBucketLogging, bucket),
		service.Handle(s.getBucketNotificationConfiguration, bucket, action("s3:GetBucketNotification")),
		service.Handle(s.getBucketReplication, bucket, action("s3:GetReplicationConfiguration")),
		service.Handle(s.getBucketRequestPayment, bucket),
		service.Handle(s.putBucketRequestPayment, bucket),
		service.Handle(s.getBucketWebsite, bucket),
		service.Handle(s.getObjectLockConfiguration, bucket, action("s3:GetBucketObjectLockConfiguration")),

		held(s, s.putObject, object, put(append(preconditions, creates)...)...),
		held(s, s.copyObject, object, put(
			key("s3:x-amz-copy-source", "{CopySource}"), key("s3:x-amz-metadata-directive", "{MetadataDirective}"),
			creates, preconditions[0], preconditions[1], preconditions[2],
			service.Also("s3:GetObject", service.On(copySource), service.If(copiesCurrent)),
			service.Also("s3:GetObjectVersion", service.On(copySource), service.If(copiesVersion), service.KeyOf("s3:versionid", copiedVersion)),
			service.Also("s3:GetObjectTagging", service.On(copySource), service.If(s.copiesTags)),
			service.Also("s3:GetObjectVersionTagging", service.On(copySource), service.If(s.copiesVersionTags), service.KeyOf("s3:versionid", copiedVersion)),
			service.Also("s3:PutObjectTagging", nil, service.If(s.keepsTags)))...),
		held(s, s.getObject, object, versioned("s3:GetObject", "s3:GetObjectVersion", service.Data)...),
		held(s, s.headObject, object, versioned("s3:GetObject", "s3:GetObjectVersion", service.Data)...),
		held(s, s.getObjectAttributes, object, append(versioned("s3:GetObject", "s3:GetObjectVersion"), service.Data,
			service.Also("s3:GetObjectAttributes", nil, service.Unless("VersionId")),
			service.Also("s3:GetObjectVersionAttributes", nil, service.When("VersionId"), key("s3:versionid", "{VersionId}")))...),
		held(s, s.deleteObject, object, append(versioned("s3:DeleteObject", "s3:DeleteObjectVersion"), key("s3:if-match", "{IfMatch}"), service.Data,
			service.Also("s3:GetObject", nil, service.If(comparesETag)))...),
		service.Handle(s.deleteObjects, service.On(each), action("s3:DeleteObject"), service.PerItem, service.Data),
		held(s, s.getObjectTagging, object, versioned("s3:GetObjectTagging", "s3:GetObjectVersionTagging", service.Data)...),
		held(s, s.putObjectTagging, object, versioned("s3:PutObjectTagging", "s3:PutObjectVersionTagging", service.Data)...),
		held(s, s.deleteObjectTagging, object, versioned("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging", service.Data)...),

		held(s, s.listObjects, bucket, append(listing, action("s3:ListBucket"))...),
		held(s, s.listObjectsV2, bucket, append(listing, action("s3:ListBucket"))...),
		held(s, s.listObjectVersions, bucket, append(listing, action("s3:ListBucketVersions"))...),

		held(s, s.createMultipartUpload, object, put(key("s3:ObjectCreationOperation", "false"))...),
		held(s, s.uploadPart, object, action("s3:PutObject"), key("s3:ObjectCreationOperation", "false"), service.Data),
		held(s, s.uploadPartCopy, object, action("s3:PutObject"), service.Data,
			key("s3:ObjectCreationOperation", "false"), key("s3:x-amz-copy-source", "{CopySource}"),
			service.Also("s3:GetObject", service.On(partSource), service.If(partOfCurrent)),
			service.Also("s3:GetObjectVersion", service.On(partSource), service.If(partOfVersion), service.KeyOf("s3:versionid", partVersion))),
		held(s, s.completeMultipartUpload, object, append(preconditions, action("s3:PutObject"), creates, service.Data)...),
		held(s, s.abortMultipartUpload, object, service.Data),
		held(s, s.listParts, object, action("s3:ListMultipartUploadParts"), service.Data),
		held(s, s.listMultipartUploads, bucket, action("s3:ListBucketMultipartUploads"), service.Data),
	)
	t.Object, t.Key, t.Anonymous, t.Quoted = resourceOf, s.key, true, true
	return t
}

// newBucket is a bucket to be made: whoever has the name already is not asked.
func newBucket(_ *service.Call, in *api.CreateBucketInput) []service.Target {
	return []service.Target{{ARN: arn.ARN("arn:aws:s3:::" + in.Bucket), New: true}}
}

// resourceOf is what authorisation may know of a bucket, or of an object, which has the
// owner and policy of its bucket.
func resourceOf(state *store.Snapshot, action policy.Action, a arn.ARN) service.Object {
	name, key, _ := strings.Cut(a.Resource(), "/")
	b := buckets.Get(state, name)
	if b == nil {
		return service.Object{Missing: noSuchBucket(name)}
	}
	var o service.Object
	if b.ABAC && key == "" {
		o = service.Tagged(b.Tags, func(t data.Tag) (string, string) { return t.Key, t.Value })
	}
	o.Account, o.Policy = b.Account, b.InForce
	if strings.HasSuffix(strings.ToLower(string(action)), "bucketpolicy") {
		o.Mending = true // Get, Put, Delete: User Guide, "Bucket policies", of a policy that locks everyone out
	}
	return o
}

// key gives S3's own condition keys (Service Authorization Reference, "Amazon S3").
func (s *Service) key(c *service.Call, check *service.Check, on *service.Object, key string) (policy.Value, bool) {
	signed := c.Account != ""
	switch key {
	case "s3:authtype":
		if c.Source.Presigned {
			return policy.String("REST-QUERY-STRING"), true
		}
		return policy.String("REST-HEADER"), signed
	case "s3:signatureversion":
		return policy.String("AWS4-HMAC-SHA256"), signed
	case "s3:signatureage": // milliseconds
		age := c.Time.Sub(c.Source.SignedAt).Milliseconds()
		return policy.String(strconv.FormatInt(max(age, 0), 10)), signed && !c.Source.SignedAt.IsZero()
	case "s3:tlsversion":
		return policy.String(c.Source.TLS), c.Source.TLS != ""
	case "s3:x-amz-content-sha256":
		if c.Source.Headers == nil {
			return policy.Value{}, false
		}
		sum := c.Source.Headers("X-Amz-Content-Sha256")
		if sum == "" && c.Source.Presigned {
			sum = "UNSIGNED-PAYLOAD"
		}
		return policy.String(sum), sum != ""
	case "s3:resourceaccount":
		return policy.String(on.Account), on.Account != ""
	case "s3:prefix":
		// A listing without a prefix has the empty one, as clients send it: policies that
		// allow a home folder list "" among the prefixes.
		switch check.In.(type) {
		case *api.ListObjectsInput, *api.ListObjectsV2Input, *api.ListObjectVersionsInput:
			return policy.String(""), true
		}
		return policy.Value{}, false
	case "s3:requestobjecttagkeys":
		var keys []string
		for _, t := range requestTags(check.In) {
			keys = append(keys, t.Key)
		}
		return policy.List(keys), len(keys) > 0
	}
	if name, ok := strings.CutPrefix(key, "s3:requestobjecttag/"); ok {
		return tagOf(requestTags(check.In), name)
	}
	if name, ok := strings.CutPrefix(key, "s3:existingobjecttag/"); ok {
		return tagOf(s.existingTags(c, check), name)
	}
	if name, ok := strings.CutPrefix(key, "s3:buckettag/"); ok && on.Tag != nil {
		v, ok := on.Tag(name)
		return policy.String(v), ok
	}
	return policy.Value{}, false
}

// tagOf finds a tag by its key, which conditions name without regard to case.
func tagOf(tags []data.Tag, name string) (policy.Value, bool) {
	for _, t := range tags {
		if strings.EqualFold(t.Key, name) {
			return policy.String(t.Value), true
		}
	}
	return policy.Value{}, false
}

// requestTags are the tags that a call gives to an object. Those of a header that
// cannot be read are none: the handler refuses the call.
func requestTags(in any) []data.Tag {
	var header string
	switch in := in.(type) {
	case *api.PutObjectTaggingInput:
		return fromAPI(in.Tagging.TagSet)
	case *api.PutObjectInput:
		header = in.Tagging
	case *api.CopyObjectInput:
		header = in.Tagging
	case *api.CreateMultipartUploadInput:
		header = in.Tagging
	}
	tags, err := parseTagging(header)
	if err != nil {
		return nil
	}
	return tags
}

// existingTags are the tags of the object that a check is about: of the version that
// the call names, where the check is for an action on a version.
func (s *Service) existingTags(c *service.Call, check *service.Check) []data.Tag {
	name, key, ok := strings.Cut(check.ARN.Resource(), "/")
	b := buckets.Get(c.State, name)
	if !ok || b == nil {
		return nil
	}
	version := ""
	for _, p := range check.Pairs {
		if p.Key == "s3:versionid" {
			version = p.Value.Strings()[0]
		}
	}
	tags, err := s.tagsOf(context.Background(), b, key, version)
	if err != nil {
		c.Unknown = err
	}
	return tags
}
