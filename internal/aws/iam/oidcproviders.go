package iam

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

var oidcProviders = &kind[identity.OIDCProvider]{
	kind: identity.OIDCProviderKind, field: "OpenIDConnectProviderArn", byARN: true,
	table:   identity.OIDCProviders,
	find:    byProviderARN(identity.OIDCProviderByARN),
	missing: noSuch("OpenIDConnect Provider not found for arn %s"),
	exists:  already("Provider with url %s already exists."),
	shown:   func(p *identity.OIDCProvider) (string, string, string) { return p.Name(), p.ID, p.Arn },
	count:   func(n *identity.Counts) *int { return &n.OIDCProviders },
	quota:   func(q *Quotas) int { return q.OIDCProviders }, quotaOf: "OpenIDConnectProvidersPerAccount",
	tags: func(p *identity.OIDCProvider) *[]api.Tag { return &p.Tags },
}

// byProviderARN finds a provider of the account by its ARN.
func byProviderARN[T any](find func(store.Reader, arn.ARN) *T) func(store.Reader, string, string) *T {
	return func(r store.Reader, account, name string) *T {
		if a := arn.ARN(name); a.Account() == account {
			return find(r, a)
		}
		return nil
	}
}

// providerARN is a clause that checks the form of a provider's ARN.
func providerARN[T, In any](k *kind[T]) service.Clause {
	name := field[string](reflect.TypeFor[In](), k.field)
	return service.Before(func(_ *service.Call, in *In) error {
		a, err := arn.Parse(name(in))
		if err != nil || a.Service() != "iam" || !strings.HasPrefix(a.Resource(), string(k.kind)+"/") {
			return api.InvalidInput("Invalid ARN: %s", name(in))
		}
		return nil
	})
}

// onProvider is a row on a provider.
func onProvider[T, In, Out any](k *kind[T], f func(context.Context, *service.Call, *In) (*Out, error)) service.Row {
	return service.Handle(f, k.named, providerARN[T, In](k))
}

func (s *Service) oidcProviders() []service.Row {
	newProvider := service.On(func(c *service.Call, in *api.CreateOpenIDConnectProviderInput) []service.Target {
		return []service.Target{{ARN: arn.ARN(identity.NewOIDCProvider(c.Account, in.Url, c.Time).Arn)}}
	})
	rows := []service.Row{
		service.Handle(s.createOIDCProvider, newProvider, requestTags),
		onProvider(oidcProviders, s.getOIDCProvider),
		service.Handle(s.listOIDCProviders, service.Any),
		onProvider(oidcProviders, s.deleteOIDCProvider),
		onProvider(oidcProviders, s.addClientID),
		onProvider(oidcProviders, s.removeClientID),
		onProvider(oidcProviders, s.updateThumbprint),
	}
	return append(rows, tagging[api.TagOpenIDConnectProviderInput, api.UntagOpenIDConnectProviderInput,
		api.ListOpenIDConnectProviderTagsInput, api.ListOpenIDConnectProviderTagsOutput](s, oidcProviders)...)
}

const mostThumbprints = 5

// createOIDCProvider asks the issuer for its certificate when no thumbprint is given.
// Which servers it may ask is said by webidentity.Issuers.
func (s *Service) createOIDCProvider(ctx context.Context, c *service.Call, in *api.CreateOpenIDConnectProviderInput) (*api.CreateOpenIDConnectProviderOutput, error) {
	if err := s.checkIssuer(in.Url); err != nil {
		return nil, err
	}
	if err := checkThumbprints(in.ThumbprintList); err != nil {
		return nil, err
	}
	if err := distinct(in.Tags, false); err != nil {
		return nil, err
	}
	p := identity.NewOIDCProvider(c.Account, in.Url, now(c))
	p.Thumbprints, p.Tags = in.ThumbprintList, in.Tags
	for _, id := range in.ClientIDList {
		if !slices.Contains(p.ClientIDs, id) {
			p.ClientIDs = append(p.ClientIDs, id)
		}
	}
	if err := within(len(p.ClientIDs), s.Quotas.ClientIDsPerProvider, "ClientIdsPerOpenIdConnectProvider"); err != nil {
		return nil, err
	}
	if len(p.Thumbprints) == 0 && oidcProviders.find(c.State, c.Account, p.Arn) == nil {
		shown, err := s.Issuers.Thumbprint(ctx, in.Url)
		if err != nil {
			return nil, api.OpenIdIdpCommunicationError("Could not connect to %s", in.Url)
		}
		if shown != "" {
			p.Thumbprints = []string{shown}
		}
	}
	if err := create(ctx, s, c, oidcProviders, p, nil); err != nil {
		if taken, ok := errors.AsType[*wire.Error](err); ok && taken.Code == "EntityAlreadyExists" {
			return nil, oidcProviders.exists(in.Url)
		}
		return nil, err
	}
	return &api.CreateOpenIDConnectProviderOutput{OpenIDConnectProviderArn: p.Arn, Tags: in.Tags}, nil
}

// checkIssuer says what is wrong with the address of an issuer.
func (s *Service) checkIssuer(address string) error {
	switch scheme, _, _ := strings.Cut(address, "://"); {
	case s.Issuers.CheckIssuer(address):
		return nil
	case scheme == "http":
		return api.InvalidInput("Invalid Open ID Connect Provider URL. The URL must begin with https://.")
	}
	return api.ValidationError("Invalid Open ID Connect Provider URL")
}

func checkThumbprints(thumbprints []string) error {
	if len(thumbprints) > mostThumbprints {
		return api.InvalidInput("Thumbprint list must contain fewer than 5 entries.")
	}
	return nil
}

func (s *Service) getOIDCProvider(_ context.Context, c *service.Call, in *api.GetOpenIDConnectProviderInput) (*api.GetOpenIDConnectProviderOutput, error) {
	p, err := oidcProviders.get(c.State, c, in.OpenIDConnectProviderArn)
	if err != nil {
		return nil, err
	}
	return &api.GetOpenIDConnectProviderOutput{ // lists are written although empty
		Url:            p.Name(),
		ClientIDList:   append([]string{}, p.ClientIDs...),
		ThumbprintList: append([]string{}, p.Thumbprints...),
		CreateDate:     p.Created,
		Tags:           append([]api.Tag{}, p.Tags...),
	}, nil
}

func (s *Service) listOIDCProviders(_ context.Context, c *service.Call, _ *api.ListOpenIDConnectProvidersInput) (*api.ListOpenIDConnectProvidersOutput, error) {
	out := &api.ListOpenIDConnectProvidersOutput{OpenIDConnectProviderList: []api.OpenIDConnectProviderListEntry{}}
	for _, p := range oidcProviders.all(c.State, c.Account, "")("") {
		out.OpenIDConnectProviderList = append(out.OpenIDConnectProviderList, api.OpenIDConnectProviderListEntry{Arn: p.Arn})
	}
	return out, nil
}

// deleteOIDCProvider leaves the trust policies that name the provider: nobody it
// vouches for is let in any more.
func (s *Service) deleteOIDCProvider(ctx context.Context, c *service.Call, in *api.DeleteOpenIDConnectProviderInput) (*none, error) {
	err := remove(ctx, s, c, oidcProviders, in.OpenIDConnectProviderArn, func(*store.Tx, *identity.OIDCProvider) error { return nil })
	if missing, ok := errors.AsType[*wire.Error](err); ok && missing.Code == "NoSuchEntity" { // in other words than elsewhere
		return nil, api.NoSuchEntity("OpenId connect Provider %s cannot be found.", in.OpenIDConnectProviderArn)
	}
	return nil, err
}

func (s *Service) addClientID(ctx context.Context, c *service.Call, in *api.AddClientIDToOpenIDConnectProviderInput) (*none, error) {
	return nil, change(ctx, s, c, oidcProviders, in.OpenIDConnectProviderArn, func(_ *store.Tx, p *identity.OIDCProvider) error {
		if slices.Contains(p.ClientIDs, in.ClientID) {
			return nil
		}
		p.ClientIDs = append(slices.Clone(p.ClientIDs), in.ClientID)
		return within(len(p.ClientIDs), s.Quotas.ClientIDsPerProvider, "ClientIdsPerOpenIdConnectProvider")
	})
}

func (s *Service) removeClientID(ctx context.Context, c *service.Call, in *api.RemoveClientIDFromOpenIDConnectProviderInput) (*none, error) {
	return nil, change(ctx, s, c, oidcProviders, in.OpenIDConnectProviderArn, func(_ *store.Tx, p *identity.OIDCProvider) error {
		p.ClientIDs = slices.DeleteFunc(slices.Clone(p.ClientIDs), func(id string) bool { return id == in.ClientID })
		return nil
	})
}

func (s *Service) updateThumbprint(ctx context.Context, c *service.Call, in *api.UpdateOpenIDConnectProviderThumbprintInput) (*none, error) {
	if len(in.ThumbprintList) == 0 {
		return nil, api.InvalidInput("Thumbprint list must contain at least one entry.")
	}
	if err := checkThumbprints(in.ThumbprintList); err != nil {
		return nil, err
	}
	return nil, change(ctx, s, c, oidcProviders, in.OpenIDConnectProviderArn, func(_ *store.Tx, p *identity.OIDCProvider) error {
		p.Thumbprints = in.ThumbprintList
		return nil
	})
}
