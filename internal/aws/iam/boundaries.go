package iam

import (
	"context"
	"reflect"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// setBoundary puts a managed policy in the place of a principal's permissions
// boundary, or with "" takes the boundary away.
func setBoundary(tx *store.Tx, c *service.Call, boundary **api.AttachedPermissionsBoundary, policyARN string) error {
	if policyARN != "" {
		parsed, err := arn.Parse(policyARN)
		if err != nil || validPolicyARN(string(parsed)) != nil {
			return api.InvalidInput("ARN %s is not valid.", policyARN)
		}
		if !attachable(tx, c.Account, policyARN) && partnerBoundary(tx, policyARN) == nil {
			return api.NoSuchEntity("Scope ARN: %s does not exist or is not attachable.", policyARN)
		}
	}
	if old := *boundary; old != nil {
		use(tx, c.Account, arn.ARN(old.PermissionsBoundaryArn), 0, -1)
		*boundary = nil
	}
	if policyARN != "" {
		use(tx, c.Account, arn.ARN(policyARN), 0, +1)
		*boundary = &api.AttachedPermissionsBoundary{PermissionsBoundaryType: "Policy", PermissionsBoundaryArn: policyARN}
	}
	return nil
}

func putBoundary[In, T any](s *Service, k *kind[T]) func(context.Context, *service.Call, *In) (*none, error) {
	name, policyARN := field[string](reflect.TypeFor[In](), k.field), field[string](reflect.TypeFor[In](), "PermissionsBoundary")
	return func(ctx context.Context, c *service.Call, in *In) (*none, error) {
		return nil, change(ctx, s, c, k, name(in), func(tx *store.Tx, v *T) error {
			return setBoundary(tx, c, k.boundary(v), policyARN(in))
		})
	}
}

func deleteBoundary[In, T any](s *Service, k *kind[T]) func(context.Context, *service.Call, *In) (*none, error) {
	name := field[string](reflect.TypeFor[In](), k.field)
	return func(ctx context.Context, c *service.Call, in *In) (*none, error) {
		return nil, change(ctx, s, c, k, name(in), func(tx *store.Tx, v *T) error {
			return setBoundary(tx, c, k.boundary(v), "")
		})
	}
}
