package iam

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

//go:embed servicelinked.txt
var serviceLinkedFile string

// A serviceLinked is a line of servicelinked.txt: the role that a service has.
type serviceLinked struct {
	service     string // "autoscaling.amazonaws.com"
	name        string // "AWSServiceRoleForAutoScaling"
	policy      arn.ARN
	suffix      bool // it may have a custom suffix
	description string
}

var serviceLinkedRoles = sync.OnceValue(func() map[string]serviceLinked {
	all := map[string]serviceLinked{}
	for line := range strings.Lines(serviceLinkedFile) {
		line, description, _ := strings.Cut(strings.TrimSpace(line), " : ")
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		l := serviceLinked{service: words[0], name: words[1], suffix: len(words) > 3, description: description}
		l.policy = arn.ARN("arn:aws:iam::aws:policy" + identity.ServiceLinkedPath + words[2])
		all[l.service] = l
	}
	return all
})

// role is the role, under its name or that name with a suffix.
func (l *serviceLinked) role(c *service.Call, name string) *identity.Role {
	path := identity.ServiceLinkedPath + l.service + "/"
	return &identity.Role{
		Role: api.Role{
			Path:               path,
			RoleName:           name,
			RoleId:             identity.NewID(identity.RolePrefix, c.Account),
			Arn:                entityARN(c.Account, identity.RoleKind, path, name),
			CreateDate:         now(c),
			Description:        l.description,
			MaxSessionDuration: defaultSessionDuration,
		},
		Trust: identity.NewDocument(fmt.Sprintf(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"%s"},"Action":"sts:AssumeRole"}]}`, l.service)),
		Attached: []arn.ARN{l.policy},
	}
}

// serviceLinkedName is the name that a role gets. Of a service that has none it is the
// beginning of every such name.
func serviceLinkedName(in *api.CreateServiceLinkedRoleInput) string {
	name := "AWSServiceRoleFor"
	if l, ok := serviceLinkedRoles()[in.AWSServiceName]; ok {
		name = l.name
	}
	if in.CustomSuffix != "" {
		name += "_" + in.CustomSuffix
	}
	return name
}

var newServiceLinkedRole = service.On(func(c *service.Call, in *api.CreateServiceLinkedRoleInput) []service.Target {
	return []service.Target{{ARN: arn.ARN(entityARN(c.Account, identity.RoleKind, identity.ServiceLinkedPath+in.AWSServiceName+"/", serviceLinkedName(in))), New: true}}
})

// newServiceLinked are roles with what AWS says of a service-linked one whose name is taken.
var newServiceLinked = func() *kind[identity.Role] {
	k := *roles
	k.exists = func(name string) *wire.Error {
		return api.InvalidInput("Service role name %s has been taken in this account, please try a different suffix.", name)
	}
	return &k
}()

const longestRoleName = 64

func (s *Service) createServiceLinkedRole(ctx context.Context, c *service.Call, in *api.CreateServiceLinkedRoleInput) (*api.CreateServiceLinkedRoleOutput, error) {
	l, ok := serviceLinkedRoles()[in.AWSServiceName]
	if !ok {
		return nil, api.AccessDenied("Cannot find Service Linked Role template for %s", in.AWSServiceName)
	}
	if in.CustomSuffix != "" && !l.suffix {
		return nil, api.InvalidInput("Custom suffix is not allowed for %s", in.AWSServiceName)
	}
	name := serviceLinkedName(in)
	if len(name) > longestRoleName {
		return nil, api.InvalidInput("Service role name %s is longer than %d characters, please try a shorter suffix.", name, longestRoleName)
	}
	r := l.role(c, name)
	if in.Description != "" {
		r.Description = in.Description
	}
	err := create(ctx, s, c, newServiceLinked, r, func(tx *store.Tx) error {
		use(tx, c.Account, l.policy, +1, 0)
		return nil
	})
	if err != nil {
		return nil, err
	}
	v := briefRole(s.DB.View(), r)
	return &api.CreateServiceLinkedRoleOutput{Role: &v}, nil
}

// A deletion is a task of DeleteServiceLinkedRole. What it could do was done when it
// was made: Failed tells why that was not the deletion.
type deletion struct {
	Made   time.Time
	Failed *api.DeletionTaskFailureReasonType `json:",omitempty"`
}

var deletions = store.NewTable[deletion]("slrdeletions") // account + "/" + task id

// keepDeletions is how long the outcome of a deletion can be asked for.
const keepDeletions = 7 * 24 * time.Hour

// deleteServiceLinkedRole deletes the role at once, unless it may still be in use:
// the services that could tell are not here, but a session is.
func (s *Service) deleteServiceLinkedRole(ctx context.Context, c *service.Call, in *api.DeleteServiceLinkedRoleInput) (*api.DeleteServiceLinkedRoleOutput, error) {
	id := newUUID()
	var task string
	err := s.update(ctx, func(tx *store.Tx) error {
		r, err := roles.get(tx, c, in.RoleName)
		if err != nil {
			return err
		}
		if !r.ServiceLinked() {
			return api.InvalidInput("The role with name %s is not a service-linked role.", r.RoleName)
		}
		for key, old := range deletions.All(tx, c.Account+"/") {
			if c.Time.Sub(old.Made) > keepDeletions {
				deletions.Delete(tx, key)
			}
		}
		task = "task" + r.Path + r.RoleName + "/" + id
		d := &deletion{Made: now(c)}
		if last := identity.LastUsed.Get(tx, r.RoleId); last != nil && c.Time.Sub(last.Time) < time.Duration(r.MaxSessionDuration)*time.Second {
			d.Failed = &api.DeletionTaskFailureReasonType{
				Reason:        "The role has active sessions or its resources have not been deleted from the linked service.",
				RoleUsageList: []api.RoleUsageType{{Region: last.Region, Resources: []string{r.Arn}}},
			}
		}
		if strings.HasPrefix(r.Path, identity.ServiceLinkedPath+roleManagerService+"/") && preferencesOf(tx, c.Account).RoleManager {
			d.Failed = &api.DeletionTaskFailureReasonType{Reason: "The account property " + roleManagerEnabled + " is true."}
		}
		deletions.Put(tx, c.Account+"/"+task, d)
		if d.Failed != nil {
			return nil
		}
		for _, a := range r.Attached {
			use(tx, c.Account, a, -1, 0)
		}
		return erase(tx, s, c.Account, roles, r)
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteServiceLinkedRoleOutput{DeletionTaskId: task}, nil
}

// roleOfTask is the role that a deletion task is about: its path and name stand in the task's id.
var roleOfTask = service.On(func(c *service.Call, in *api.GetServiceLinkedRoleDeletionStatusInput) []service.Target {
	role := strings.TrimPrefix(in.DeletionTaskId, "task")
	role = role[:max(0, strings.LastIndexByte(role, '/'))]
	return []service.Target{{ARN: arn.ARN(entityARN(c.Account, identity.RoleKind, "/", strings.TrimPrefix(role, "/")))}}
})

func (s *Service) getServiceLinkedRoleDeletionStatus(_ context.Context, c *service.Call, in *api.GetServiceLinkedRoleDeletionStatusInput) (*api.GetServiceLinkedRoleDeletionStatusOutput, error) {
	if !strings.HasPrefix(in.DeletionTaskId, "task"+identity.ServiceLinkedPath) {
		return nil, api.InvalidInput("Invalid deletion task id: %s", in.DeletionTaskId)
	}
	d := deletions.Get(c.State, c.Account+"/"+in.DeletionTaskId)
	switch {
	case d == nil || c.Time.Sub(d.Made) > keepDeletions:
		return nil, api.NoSuchEntity("The deletion task with id %s cannot be found.", in.DeletionTaskId)
	case d.Failed != nil:
		return &api.GetServiceLinkedRoleDeletionStatusOutput{Status: "FAILED", Reason: d.Failed}, nil
	}
	return &api.GetServiceLinkedRoleDeletionStatusOutput{Status: "SUCCEEDED"}, nil
}

// newUUID makes a random UUID, by which a task or a job is known.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
