package iam

import (
	"context"
	"maps"
	"reflect"
	"slices"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// inline are the four operations on the inline policies of a kind of principal.
func inline[Put, Get, Got, List, Listed, Delete, T any](s *Service, k *kind[T]) []service.Row {
	putName, putPolicy := field[string](reflect.TypeFor[Put](), k.field), field[string](reflect.TypeFor[Put](), "PolicyName")
	document := field[string](reflect.TypeFor[Put](), "PolicyDocument")
	getName, getPolicy := field[string](reflect.TypeFor[Get](), k.field), field[string](reflect.TypeFor[Get](), "PolicyName")
	deleteName, deletePolicy := field[string](reflect.TypeFor[Delete](), k.field), field[string](reflect.TypeFor[Delete](), "PolicyName")
	listName := field[string](reflect.TypeFor[List](), k.field)
	marker, max := field[string](reflect.TypeFor[List](), "Marker"), field[*int32](reflect.TypeFor[List](), "MaxItems")

	missing := func(name string) error {
		return api.NoSuchEntity("The %s policy with name %s cannot be found.", k.word, name)
	}

	put := func(ctx context.Context, c *service.Call, in *Put) (*none, error) {
		return nil, change(ctx, s, c, k, putName(in), func(_ *store.Tx, v *T) error {
			if err := checkDocument(document(in), policy.Identity); err != nil {
				return err
			}
			inline := k.inline(v)
			if *inline == nil {
				*inline = map[string]identity.Document{}
			}
			(*inline)[putPolicy(in)] = identity.NewDocument(document(in))
			total := 0
			for _, d := range *inline {
				total += policy.Size(d.String())
			}
			if quota := k.inlines(&s.Quotas); total > quota {
				return api.LimitExceeded("Maximum policy size of %d bytes exceeded for %s %s", quota, k.word, putName(in))
			}
			return nil
		})
	}
	get := func(_ context.Context, c *service.Call, in *Get) (*Got, error) {
		v, err := k.get(c.State, c, getName(in))
		if err != nil {
			return nil, err
		}
		d, ok := (*k.inline(v))[getPolicy(in)]
		if !ok {
			return nil, missing(getPolicy(in))
		}
		name, _, _ := k.shown(v)
		return answer[Got](map[string]any{k.field: name, "PolicyName": getPolicy(in), "PolicyDocument": d.String()}), nil
	}
	list := func(_ context.Context, c *service.Call, in *List) (*Listed, error) {
		v, err := k.get(c.State, c, listName(in))
		if err != nil {
			return nil, err
		}
		p, err := paged(marker(in), max(in), slice(slices.Sorted(maps.Keys(*k.inline(v)))))
		if err != nil {
			return nil, err
		}
		return answer[Listed](map[string]any{"PolicyNames": p.Items, "IsTruncated": p.More, "Marker": p.Marker}), nil
	}
	remove := func(ctx context.Context, c *service.Call, in *Delete) (*none, error) {
		return nil, change(ctx, s, c, k, deleteName(in), func(_ *store.Tx, v *T) error {
			inline := *k.inline(v)
			if _, ok := inline[deletePolicy(in)]; !ok {
				return missing(deletePolicy(in))
			}
			delete(inline, deletePolicy(in))
			return nil
		})
	}
	return []service.Row{principal(k, put), service.Handle(get, k.named), service.Handle(list, k.named), principal(k, remove)}
}

// principal is a row on an existing principal, bounded where its kind can be.
func principal[T, In, Out any](k *kind[T], f func(context.Context, *service.Call, *In) (*Out, error), clauses ...service.Clause) service.Row {
	if k.boundary == nil {
		return service.Handle(f, k.named, clauses...)
	}
	return bounded(k, f, clauses...)
}
