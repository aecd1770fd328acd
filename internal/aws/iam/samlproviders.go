package iam

import (
	"context"
	"slices"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/saml"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

var samlProviders = &kind[identity.SAMLProvider]{
	kind: identity.SAMLProviderKind, field: "SAMLProviderArn", byARN: true,
	table:   identity.SAMLProviders,
	find:    byProviderARN(identity.SAMLProviderByARN),
	missing: noSuch("Manifest not found for arn %s"),
	exists:  already("Provider with name %s already exists."),
	shown:   func(p *identity.SAMLProvider) (string, string, string) { return p.Name, p.UUID, p.Arn },
	count:   func(n *identity.Counts) *int { return &n.SAMLProviders },
	quota:   func(q *Quotas) int { return q.SAMLProviders }, quotaOf: "SAMLProvidersPerAccount",
	tags: func(p *identity.SAMLProvider) *[]api.Tag { return &p.Tags },
}

func (s *Service) samlProviders() []service.Row {
	newProvider := service.On(func(c *service.Call, in *api.CreateSAMLProviderInput) []service.Target {
		return []service.Target{{ARN: arn.ARN(entityARN(c.Account, identity.SAMLProviderKind, "/", in.Name))}}
	})
	rows := []service.Row{
		service.Handle(s.createSAMLProvider, newProvider, requestTags),
		onProvider(samlProviders, s.getSAMLProvider),
		service.Handle(s.listSAMLProviders, service.Any),
		onProvider(samlProviders, s.updateSAMLProvider),
		onProvider(samlProviders, s.deleteSAMLProvider),
	}
	return append(rows, tagging[api.TagSAMLProviderInput, api.UntagSAMLProviderInput,
		api.ListSAMLProviderTagsInput, api.ListSAMLProviderTagsOutput](s, samlProviders)...)
}

// forEver is how long the metadata of a provider is valid that does not say it.
const forEver = 100

// describe sets what a metadata document says of a provider.
func describe(p *identity.SAMLProvider, document string, now time.Time) error {
	m, err := saml.ParseMetadata(document)
	if err != nil {
		return api.InvalidInput("Could not parse metadata")
	}
	p.Metadata, p.ValidUntil = document, m.ValidUntil.UTC()
	if p.ValidUntil.IsZero() {
		p.ValidUntil = now.AddDate(forEver, 0, 0)
	}
	return nil
}

// samlKey seals a private key for the store.
func (s *Service) samlKey(c *service.Call, text string) (identity.SAMLKey, error) {
	if _, err := saml.ParseKey(text); err != nil {
		return identity.SAMLKey{}, api.InvalidInput("The private key is not an RSA key of 2048 bits or more in PEM form.")
	}
	k := identity.SAMLKey{ID: identity.NewSAMLKeyID(), Created: now(c)}
	k.Sealed = s.Keyring.Keep(k.ID, identity.NewSecret(text))
	return k, nil
}

func (s *Service) createSAMLProvider(ctx context.Context, c *service.Call, in *api.CreateSAMLProviderInput) (*api.CreateSAMLProviderOutput, error) {
	if err := distinct(in.Tags, false); err != nil {
		return nil, err
	}
	p := identity.NewSAMLProvider(c.Account, in.Name, now(c))
	p.Tags, p.Encryption = in.Tags, orAllowed(in.AssertionEncryptionMode)
	if err := describe(p, in.SAMLMetadataDocument, now(c)); err != nil {
		return nil, err
	}
	if in.AddPrivateKey != "" {
		k, err := s.samlKey(c, in.AddPrivateKey)
		if err != nil {
			return nil, err
		}
		p.Keys = []identity.SAMLKey{k}
	}
	if err := create(ctx, s, c, samlProviders, p, nil); err != nil {
		return nil, err
	}
	return &api.CreateSAMLProviderOutput{SAMLProviderArn: p.Arn, Tags: in.Tags}, nil
}

// orAllowed is the mode of encryption: assertions need not be encrypted unless it is said.
func orAllowed(mode string) string {
	if mode == "" {
		return "Allowed"
	}
	return mode
}

func (s *Service) getSAMLProvider(_ context.Context, c *service.Call, in *api.GetSAMLProviderInput) (*api.GetSAMLProviderOutput, error) {
	p, err := samlProviders.get(c.State, c, in.SAMLProviderArn)
	if err != nil {
		return nil, err
	}
	keys := []api.SAMLPrivateKey{} // lists are written although empty
	for _, k := range p.Keys {
		keys = append(keys, api.SAMLPrivateKey{KeyId: k.ID, Timestamp: k.Created})
	}
	return &api.GetSAMLProviderOutput{
		SAMLProviderUUID: p.UUID, SAMLMetadataDocument: p.Metadata, CreateDate: p.Created, ValidUntil: p.ValidUntil,
		Tags: append([]api.Tag{}, p.Tags...), AssertionEncryptionMode: p.Encryption, PrivateKeyList: keys,
	}, nil
}

func (s *Service) listSAMLProviders(_ context.Context, c *service.Call, _ *api.ListSAMLProvidersInput) (*api.ListSAMLProvidersOutput, error) {
	out := &api.ListSAMLProvidersOutput{SAMLProviderList: []api.SAMLProviderListEntry{}}
	for _, p := range samlProviders.all(c.State, c.Account, "")("") {
		out.SAMLProviderList = append(out.SAMLProviderList, api.SAMLProviderListEntry{Arn: p.Arn, ValidUntil: p.ValidUntil, CreateDate: p.Created})
	}
	return out, nil
}

func (s *Service) updateSAMLProvider(ctx context.Context, c *service.Call, in *api.UpdateSAMLProviderInput) (*api.UpdateSAMLProviderOutput, error) {
	var added *identity.SAMLKey
	if in.AddPrivateKey != "" {
		k, err := s.samlKey(c, in.AddPrivateKey)
		if err != nil {
			return nil, err
		}
		added = &k
	}
	err := change(ctx, s, c, samlProviders, in.SAMLProviderArn, func(_ *store.Tx, p *identity.SAMLProvider) error {
		if in.SAMLMetadataDocument != "" {
			if err := describe(p, in.SAMLMetadataDocument, now(c)); err != nil {
				return err
			}
		}
		if in.AssertionEncryptionMode != "" {
			p.Encryption = in.AssertionEncryptionMode
		}
		if id := in.RemovePrivateKey; id != "" {
			i := slices.IndexFunc(p.Keys, func(k identity.SAMLKey) bool { return k.ID == id })
			if i < 0 {
				return api.InvalidInput("The private key %s does not exist.", id)
			}
			p.Keys = slices.Delete(slices.Clone(p.Keys), i, i+1)
		}
		if added != nil {
			p.Keys = append(slices.Clone(p.Keys), *added)
		}
		return within(len(p.Keys), s.Quotas.KeysPerSAMLProvider, "PrivateKeysPerSAMLProvider")
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateSAMLProviderOutput{SAMLProviderArn: in.SAMLProviderArn}, nil
}

// deleteSAMLProvider leaves the trust policies that name the provider: nobody it
// vouches for is let in any more.
func (s *Service) deleteSAMLProvider(ctx context.Context, c *service.Call, in *api.DeleteSAMLProviderInput) (*none, error) {
	return nil, remove(ctx, s, c, samlProviders, in.SAMLProviderArn, func(*store.Tx, *identity.SAMLProvider) error { return nil })
}
