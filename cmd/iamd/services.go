package main

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/aws/accessanalyzer"
	"github.com/iamd-dev/iamd/internal/aws/cloudformation"
	"github.com/iamd-dev/iamd/internal/aws/codebuild"
	"github.com/iamd-dev/iamd/internal/aws/codepipeline"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/aws/ec2"
	"github.com/iamd-dev/iamd/internal/aws/ecs"
	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/aws/lambda"
	"github.com/iamd-dev/iamd/internal/aws/organizations"
	"github.com/iamd-dev/iamd/internal/aws/s3"
	"github.com/iamd-dev/iamd/internal/aws/ssm"
	"github.com/iamd-dev/iamd/internal/aws/sts"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/lint"
	"github.com/iamd-dev/iamd/internal/outbound"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/webidentity"
)

// tables are those of the services, which are checked before anyone calls.
func tables() []store.Checker {
	return slices.Concat(identity.Tables(), outbound.Tables(), iam.Tables(), organizations.Tables(), s3.Tables(), dynamodb.Tables(), ec2.Tables(), ecs.Tables(), lambda.Tables(), ssm.Tables(), cloudformation.Tables(), codebuild.Tables(), codepipeline.Tables())
}

// services are the AWS services that the program serves.
func services(h *house, s *settings) ([]*service.Service, error) {
	issuers := &webidentity.Issuers{Trusted: s.trustedIssuers}
	entities := &iam.Service{DB: h.db, Keyring: h.keyring, Issuers: issuers, Issuer: h.issuer, Notify: (&notices{files: noticeFiles(s.providers)}).write}
	all := []*service.Service{
		entities.AWS(),
		entities.Imports(),
		(&sts.Service{DB: h.db, Keyring: h.keyring, Managed: authz.Managed, Issuers: issuers, Issuer: h.issuer}).AWS(),
		(&organizations.Service{DB: h.db, NewRole: iam.NewOrganizationRole}).AWS(),
		(&accessanalyzer.Service{Reference: lint.Reference()}).AWS(),
	}
	h.nodes = &ssm.Service{DB: h.db, Keyring: h.keyring}
	if h.machines != nil {
		h.nodes.Instance = ec2.TagsOf
	}
	all = append(all, h.nodes.AWS(), h.nodes.Messages(), h.nodes.Gateway())
	// What S3 and DynamoDB keep is on this machine, which the servers of a cluster do not
	// share, or behind us.
	switch {
	case s.behind.s3 != nil:
		all = append(all, s3.NewUpstream(h.db, &s3.Upstream{Server: s.behind.s3, Owner: s.upstreams.s3Owner}).AWS())
	case h.objects != nil:
		buckets, err := s3.New(h.db, h.objects)
		if err != nil {
			return nil, err
		}
		all = append(all, buckets.AWS())
	}
	if h.engines != nil || len(s.behind.dynamodb) > 0 {
		items := &dynamodb.Service{DB: h.db, Engine: s.behind.engine(h.engines), Keyring: h.keyring, Log: h.log}
		h.items = items
		if h.engines != nil { // backups, too, are on this machine
			items.Backups = filepath.Join(s.data, "dynamodb-backups")
		}
		if err := items.Open(context.Background()); err != nil {
			return nil, err
		}
		all = append(all, items.AWS(), items.Streams())
	}
	if h.machines != nil {
		all = append(all, (&ec2.Service{DB: h.db, Machines: h.machines}).AWS())
	}
	if h.objects != nil { // code, too, is on this machine
		h.functions = &lambda.Service{DB: h.db, Keyring: h.keyring, Invoker: h.inside, Roles: h.roles, Host: h.workloads, Dir: filepath.Join(s.data, "lambda"), Log: h.log}
		if err := h.functions.Open(); err != nil {
			return nil, err
		}
		all = append(all, h.functions.AWS())
		// The work on a stack goes on in one server.
		h.stacks = &cloudformation.Service{DB: h.db, Keyring: h.keyring, Invoker: h.inside, Roles: h.roles, Log: h.log}
		all = append(all, h.stacks.AWS())
	}
	if h.objects != nil { // as functions
		h.builds = &codebuild.Service{DB: h.db, Roles: h.roles, Workloads: h.workloads, Dir: filepath.Join(s.data, "codebuild"), Log: h.log}
		if err := h.builds.Open(context.Background()); err != nil {
			return nil, err
		}
		all = append(all, h.builds.AWS())
	}
	if h.tasks != nil {
		all = append(all, h.tasks.AWS())
	}
	if h.objects != nil { // as functions
		h.pipelines = &codepipeline.Service{DB: h.db, Roles: h.roles, Log: h.log}
		if err := h.pipelines.Open(context.Background()); err != nil {
			return nil, err
		}
		all = append(all, h.pipelines.AWS())
	}
	return all, nil
}
