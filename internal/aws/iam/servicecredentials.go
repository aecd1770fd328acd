package iam

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// A serviceCredential is a user name and password, or an API key, for one service
// alone. The secret is shown once and not kept: no service of iamd takes it.
type serviceCredential struct{ api.ServiceSpecificCredential }

var serviceCredentials = &credential[serviceCredential]{
	table:   store.NewTable[serviceCredential]("servicespecificcredentials"),
	field:   "ServiceSpecificCredentialId",
	missing: noSuch("No such credential %s exists"),
	status:  func(k *serviceCredential) *string { return &k.Status },
	count:   func(n *identity.Holdings) *int { return &n.ServiceSpecificCredentials },
}

// credentialServices are the services that have such credentials, and whether those
// are API keys, which have an alias in place of a user name and can expire.
var credentialServices = map[string]bool{
	"codecommit.amazonaws.com": false,
	"cassandra.amazonaws.com":  false,
	"bedrock.amazonaws.com":    true,
}

func (s *Service) createServiceSpecificCredential(ctx context.Context, c *service.Call, in *api.CreateServiceSpecificCredentialInput) (*api.CreateServiceSpecificCredentialOutput, error) {
	var made api.ServiceSpecificCredential
	id := identity.NewID(identity.ServicePrefix, c.Account)
	secret := newServiceSecret()
	err := s.update(ctx, func(tx *store.Tx) error {
		h, err := holderOf(tx, c, in.UserName)
		if err != nil {
			return err
		}
		isKey, ok := credentialServices[in.ServiceName]
		if !ok {
			return noSuchCredentialService(in.ServiceName)
		}
		if in.CredentialAgeDays != nil && !isKey {
			return api.InvalidInput("CredentialAgeDays is only valid for services that support long-term API keys.")
		}
		n, taken := 1, map[string]bool{}
		for _, other := range serviceCredentials.of(tx, h) {
			taken[other.ServiceUserName+other.ServiceCredentialAlias] = true
			if other.ServiceName == in.ServiceName {
				n++
			}
		}
		if err := within(n, s.Quotas.CredentialsPerService, "ServiceSpecificCredentialsPerUser"); err != nil {
			return err
		}
		name := fmt.Sprintf("%s-at-%s", h.name(), c.Account)
		for i := 1; taken[name]; i++ {
			name = fmt.Sprintf("%s+%d-at-%s", h.name(), i, c.Account)
		}
		made = api.ServiceSpecificCredential{ServiceSpecificCredentialId: id, ServiceName: in.ServiceName, Status: active, CreateDate: now(c)}
		if isKey {
			made.ServiceCredentialAlias = name
		} else {
			made.ServiceUserName = name
		}
		if in.CredentialAgeDays != nil {
			made.ExpirationDate = now(c).Add(time.Duration(*in.CredentialAgeDays) * 24 * time.Hour)
		}
		serviceCredentials.add(tx, c, h, id, &serviceCredential{made})
		made.UserName = h.name()
		return nil
	})
	if err != nil {
		return nil, err
	}
	showSecret(&made, secret)
	return &api.CreateServiceSpecificCredentialOutput{ServiceSpecificCredential: &made}, nil
}

func noSuchCredentialService(name string) error {
	return api.NoSuchEntity("No such service %s is supported for Service Specific Credentials", name)
}

// newServiceSecret makes a password of 256 random bits.
func newServiceSecret() identity.Secret {
	var b [32]byte
	rand.Read(b[:])
	return identity.NewSecret(base64.StdEncoding.EncodeToString(b[:]))
}

// showSecret puts the secret where AWS has it: for an API key the alias is a part of
// it, as one text that is sent as a bearer token.
func showSecret(v *api.ServiceSpecificCredential, secret identity.Secret) {
	if v.ServiceCredentialAlias == "" {
		v.ServicePassword = secret.Reveal()
		return
	}
	v.ServiceCredentialSecret = "ABSK" + base64.StdEncoding.EncodeToString([]byte(v.ServiceCredentialAlias+":"+secret.Reveal()))
}

func (s *Service) resetServiceSpecificCredential(ctx context.Context, c *service.Call, in *api.ResetServiceSpecificCredentialInput) (*api.ResetServiceSpecificCredentialOutput, error) {
	h, err := holderOf(c.State, c, in.UserName)
	if err != nil {
		return nil, err
	}
	v, err := serviceCredentials.get(c.State, h, in.ServiceSpecificCredentialId)
	if err != nil {
		return nil, err
	}
	shown := v.ServiceSpecificCredential
	shown.UserName = h.name()
	showSecret(&shown, newServiceSecret())
	return &api.ResetServiceSpecificCredentialOutput{ServiceSpecificCredential: &shown}, nil
}

func (s *Service) listServiceSpecificCredentials(_ context.Context, c *service.Call, in *api.ListServiceSpecificCredentialsInput) (*api.ListServiceSpecificCredentialsOutput, error) {
	show := func(userName string) func(*serviceCredential) (api.ServiceSpecificCredentialMetadata, bool) {
		return func(v *serviceCredential) (api.ServiceSpecificCredentialMetadata, bool) {
			shown := api.ServiceSpecificCredentialMetadata{
				UserName: userName, Status: v.Status, ServiceUserName: v.ServiceUserName, ServiceCredentialAlias: v.ServiceCredentialAlias,
				CreateDate: v.CreateDate, ExpirationDate: v.ExpirationDate, ServiceSpecificCredentialId: v.ServiceSpecificCredentialId, ServiceName: v.ServiceName,
			}
			if expired(v.ExpirationDate, c) {
				shown.Status = "Expired"
			}
			return shown, in.ServiceName == "" || v.ServiceName == in.ServiceName
		}
	}
	var all list[api.ServiceSpecificCredentialMetadata]
	if everyUser(in) {
		if in.UserName != "" {
			return nil, api.InvalidInput("AllUsers cannot be specified together with UserName.")
		}
		if in.ServiceName == "" {
			return nil, api.InvalidInput("AllUsers can only be specified together with ServiceName.")
		}
		all = func(after string) iter.Seq2[string, api.ServiceSpecificCredentialMetadata] {
			return func(yield func(string, api.ServiceSpecificCredentialMetadata) bool) {
				for user, u := range users.all(c.State, c.Account, "")("") {
					if u.Holds.ServiceSpecificCredentials == 0 {
						continue
					}
					for id, v := range serviceCredentials.of(c.State, holder{user: u}) {
						key := user + "\x00" + id // in the order of users, whatever their names begin with
						if shown, ok := show(u.UserName)(v); ok && key > after && !yield(key, shown) {
							return
						}
					}
				}
			}
		}
	} else {
		h, err := holderOf(c.State, c, in.UserName)
		if err != nil {
			return nil, err
		}
		all = listed(serviceCredentials, c.State, h, show(h.name()))
	}
	if _, ok := credentialServices[in.ServiceName]; !ok && in.ServiceName != "" {
		return nil, noSuchCredentialService(in.ServiceName)
	}
	p, err := paged(in.Marker, in.MaxItems, all)
	if err != nil {
		return nil, err
	}
	return &api.ListServiceSpecificCredentialsOutput{ServiceSpecificCredentials: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

// credentialService is the condition key for the service of the credential that an
// input names.
func credentialService[In any]() service.Clause {
	name, id := field[string](reflect.TypeFor[In](), "UserName"), field[string](reflect.TypeFor[In](), serviceCredentials.field)
	return service.KeyOf("iam:ServiceSpecificCredentialServiceName", func(c *service.Call, in *In) (policy.Value, bool) {
		h, err := holderOf(c.State, c, name(in))
		if err != nil {
			return policy.Value{}, false
		}
		v, err := serviceCredentials.get(c.State, h, id(in))
		if err != nil {
			return policy.Value{}, false
		}
		return policy.String(v.ServiceName), true
	})
}

func everyUser(in *api.ListServiceSpecificCredentialsInput) bool {
	return in.AllUsers != nil && *in.AllUsers
}

// credentialsOf is the user whose service-specific credentials are listed, or all
// users: who may list their own must not list everybody's.
func credentialsOf(in reflect.Type) func(*service.Call, any) []service.Target {
	one := user(in)
	return func(c *service.Call, input any) []service.Target {
		if everyUser(input.(*api.ListServiceSpecificCredentialsInput)) {
			return []service.Target{{ARN: arn.ARN(entityARN(c.Account, identity.UserKind, "/", "*"))}}
		}
		return one(c, input)
	}
}
