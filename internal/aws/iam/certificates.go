package iam

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base32"
	"encoding/pem"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// A signingCertificate is an X.509 certificate with which a user once signed calls of
// services that are older than access keys.
type signingCertificate struct{ api.SigningCertificate }

var signingCertificates = &credential[signingCertificate]{
	table:   store.NewTable[signingCertificate]("signingcertificates"),
	field:   "CertificateId",
	missing: noSuch("The Certificate with id %s cannot be found."),
	status:  func(k *signingCertificate) *string { return &k.Status },
	count:   func(n *identity.Holdings) *int { return &n.SigningCertificates },
}

func (s *Service) uploadSigningCertificate(ctx context.Context, c *service.Call, in *api.UploadSigningCertificateInput) (*api.UploadSigningCertificateOutput, error) {
	certificate, parseError := parseCertificate(in.CertificateBody)
	var made api.SigningCertificate
	var b [20]byte
	rand.Read(b[:])
	id := base32.StdEncoding.EncodeToString(b[:])
	err := s.update(ctx, func(tx *store.Tx) error {
		h, err := holderOf(tx, c, in.UserName)
		if err != nil {
			return err
		}
		if parseError != nil {
			return api.MalformedCertificate("Certificate %s is malformed.", in.CertificateBody)
		}
		n := 1
		for _, other := range signingCertificates.of(tx, h) {
			if o, err := parseCertificate(other.CertificateBody); err == nil && o.Equal(certificate) {
				return api.DuplicateCertificate("The certificate is already associated with the user %s.", h.name())
			}
			n++
		}
		if err := within(n, s.Quotas.SigningCertificatesPerUser, "CertificatesPerUser"); err != nil {
			return err
		}
		made = api.SigningCertificate{CertificateId: id, CertificateBody: in.CertificateBody, Status: active, UploadDate: now(c)}
		signingCertificates.add(tx, c, h, id, &signingCertificate{made})
		made.UserName = h.name()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UploadSigningCertificateOutput{Certificate: &made}, nil
}

func (s *Service) listSigningCertificates(_ context.Context, c *service.Call, in *api.ListSigningCertificatesInput) (*api.ListSigningCertificatesOutput, error) {
	h, err := holderOf(c.State, c, in.UserName)
	if err != nil {
		return nil, err
	}
	p, err := paged(in.Marker, in.MaxItems, listed(signingCertificates, c.State, h, func(k *signingCertificate) (api.SigningCertificate, bool) {
		shown := k.SigningCertificate
		shown.UserName = h.name()
		return shown, true
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListSigningCertificatesOutput{Certificates: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

// A serverCertificate is a certificate that load balancers would serve TLS with. Its
// private key is held against it and then forgotten: nothing here uses it, and AWS
// never shows it.
type serverCertificate struct {
	api.ServerCertificateMetadata
	Body  string
	Chain string    `json:",omitempty"`
	Tags  []api.Tag `json:",omitempty"`
}

var serverCertificateTable = store.NewTable[serverCertificate]("servercertificates")

var serverCertificates = &kind[serverCertificate]{
	kind: identity.ServerCertificateKind, field: "ServerCertificateName", prefix: identity.CertificatePrefix,
	table:   serverCertificateTable,
	find:    byName(serverCertificateTable),
	missing: noSuch("The Server Certificate with name %s cannot be found."),
	exists:  already("The Server Certificate with name %s already exists."),
	shown: func(v *serverCertificate) (string, string, string) {
		return v.ServerCertificateName, v.ServerCertificateId, v.Arn
	},
	count: func(n *identity.Counts) *int { return &n.ServerCertificates },
	quota: func(q *Quotas) int { return q.ServerCertificates }, quotaOf: "ServerCertificatesPerAccount",
	tags: func(v *serverCertificate) *[]api.Tag { return &v.Tags }, tagsOf: "TagsPerServerCertificate",
}

func (s *Service) uploadServerCertificate(ctx context.Context, c *service.Call, in *api.UploadServerCertificateInput) (*api.UploadServerCertificateOutput, error) {
	if err := distinct(in.Tags, false); err != nil {
		return nil, err
	}
	certificate, err := checkServerCertificate(in.CertificateBody, in.PrivateKey, in.CertificateChain, c.Time)
	if err != nil {
		return nil, err
	}
	path := orRoot(in.Path)
	v := &serverCertificate{
		ServerCertificateMetadata: api.ServerCertificateMetadata{
			Path:                  path,
			ServerCertificateName: in.ServerCertificateName,
			ServerCertificateId:   identity.NewID(identity.CertificatePrefix, c.Account),
			Arn:                   entityARN(c.Account, identity.ServerCertificateKind, path, in.ServerCertificateName),
			UploadDate:            now(c),
			Expiration:            certificate.NotAfter.UTC(),
		},
		// As Get shows them: Terraform, which has files that end with a new line, would
		// otherwise find that they have changed.
		Body: strings.TrimSpace(in.CertificateBody), Chain: strings.TrimSpace(in.CertificateChain), Tags: in.Tags,
	}
	if err := create(ctx, s, c, serverCertificates, v, nil); err != nil {
		return nil, err
	}
	return &api.UploadServerCertificateOutput{ServerCertificateMetadata: &v.ServerCertificateMetadata, Tags: in.Tags}, nil
}

// checkServerCertificate returns the certificate when it is valid now, the key is its
// own, and each certificate is signed by the next one of the chain.
func checkServerCertificate(body, privateKey, chain string, now time.Time) (*x509.Certificate, error) {
	certificate, err := parseCertificate(body)
	if err != nil {
		return nil, api.MalformedCertificate("Unable to parse certificate. Please ensure the certificate is in PEM format.")
	}
	key, err := parsePrivateKey(privateKey)
	if err != nil {
		return nil, api.MalformedCertificate("Unable to parse private key. Please ensure the private key is in PEM format and not encrypted.")
	}
	public, ok := certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, api.KeyPairMismatch("The private key does not match the public key of the certificate.")
	}
	if now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
		return nil, api.MalformedCertificate("The certificate is not valid at this time: it is from %s to %s.",
			certificate.NotBefore.UTC().Format(time.RFC3339), certificate.NotAfter.UTC().Format(time.RFC3339))
	}
	signed := certificate
	for i, rest := 0, strings.TrimSpace(chain); rest != ""; i++ {
		end := strings.Index(rest, pemEnd)
		if end < 0 {
			return nil, invalidChain(i)
		}
		signer, err := parseCertificate(rest[:end+len(pemEnd)])
		if err != nil {
			return nil, invalidChain(i)
		}
		if err := signer.CheckSignature(signed.SignatureAlgorithm, signed.RawTBSCertificate, signed.Signature); err != nil {
			return nil, invalidChain(i - 1)
		}
		signed, rest = signer, strings.TrimSpace(rest[end+len(pemEnd):])
	}
	return certificate, nil
}

// invalidChain names the certificate that is wrong by its place in the chain. That
// before the first one is the server's own.
func invalidChain(index int) error {
	return api.MalformedCertificate("Unable to validate certificate chain. The certificate chain must start with the immediate signing certificate, followed by any intermediaries in order. The index within the chain of the invalid certificate is: %d", index)
}

// mostRSABits bounds what checking a signature costs. TLS clients take no larger keys.
const mostRSABits = 8192

const (
	pemBegin = "-----BEGIN CERTIFICATE-----"
	pemEnd   = "-----END CERTIFICATE-----"
)

// parseCertificate reads one certificate in PEM, with nothing before or after it.
func parseCertificate(text string) (*x509.Certificate, error) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, pemBegin) {
		return nil, errors.New("it does not begin as a certificate in PEM")
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(rest) > 0 {
		return nil, errors.New("it is not one block of PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if key, ok := certificate.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > mostRSABits {
		return nil, errors.New("its key is too large")
	}
	return certificate, nil
}

// parsePrivateKey reads one unencrypted private key in PEM.
func parsePrivateKey(text string) (crypto.Signer, error) {
	block, rest := pem.Decode([]byte(strings.TrimSpace(text)))
	if block == nil || len(rest) > 0 {
		return nil, errors.New("it is not one block of PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, errors.New("it is no private key in the clear")
	}
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it is a key that signs nothing")
	}
	return signer, nil
}

func (s *Service) getServerCertificate(_ context.Context, c *service.Call, in *api.GetServerCertificateInput) (*api.GetServerCertificateOutput, error) {
	v, err := serverCertificates.get(c.State, c, in.ServerCertificateName)
	if err != nil {
		return nil, err
	}
	return &api.GetServerCertificateOutput{ServerCertificate: &api.ServerCertificate{
		ServerCertificateMetadata: &v.ServerCertificateMetadata, CertificateBody: v.Body, CertificateChain: v.Chain,
		Tags: append([]api.Tag{}, v.Tags...), // there even when empty
	}}, nil
}

func (s *Service) listServerCertificates(_ context.Context, c *service.Call, in *api.ListServerCertificatesInput) (*api.ListServerCertificatesOutput, error) {
	p, err := paged(in.Marker, in.MaxItems, mapped(serverCertificates.all(c.State, c.Account, in.PathPrefix), func(v *serverCertificate) (api.ServerCertificateMetadata, bool) {
		return v.ServerCertificateMetadata, true
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListServerCertificatesOutput{ServerCertificateMetadataList: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

func (s *Service) updateServerCertificate(ctx context.Context, c *service.Call, in *api.UpdateServerCertificateInput) (*none, error) {
	return nil, s.update(ctx, func(tx *store.Tx) error {
		v, err := serverCertificates.get(tx, c, in.ServerCertificateName)
		if err != nil {
			return err
		}
		from := serverCertificates.key(c.Account, v)
		if in.NewServerCertificateName != "" {
			v.ServerCertificateName = in.NewServerCertificateName
		}
		if in.NewPath != "" {
			v.Path = in.NewPath
		}
		v.Arn = entityARN(c.Account, identity.ServerCertificateKind, v.Path, v.ServerCertificateName)
		if to := serverCertificates.key(c.Account, v); to != from {
			if serverCertificateTable.Get(tx, to) != nil {
				return serverCertificates.exists(in.NewServerCertificateName)
			}
			serverCertificateTable.Delete(tx, from)
			identity.IDs.Put(tx, v.ServerCertificateId, &identity.Ref{Kind: identity.ServerCertificateKind, Key: to})
		}
		serverCertificateTable.Put(tx, serverCertificates.key(c.Account, v), v)
		return nil
	})
}

// renamedServerCertificate is what UpdateServerCertificate makes of another one.
func renamedServerCertificate(in reflect.Type) func(*service.Call, any) []service.Target {
	return service.On(func(c *service.Call, in *api.UpdateServerCertificateInput) []service.Target {
		return renamed(c, serverCertificates, in.ServerCertificateName, in.NewPath, in.NewServerCertificateName)
	})(in)
}

func (s *Service) deleteServerCertificate(ctx context.Context, c *service.Call, in *api.DeleteServerCertificateInput) (*none, error) {
	return nil, remove(ctx, s, c, serverCertificates, in.ServerCertificateName, func(*store.Tx, *serverCertificate) error { return nil })
}

func serverCertificateByARN(r store.Reader, a arn.ARN) *serverCertificate {
	resource := a.Resource()
	if v := serverCertificates.find(r, a.Account(), resource[strings.LastIndexByte(resource, '/')+1:]); v != nil && v.Arn == string(a) {
		return v
	}
	return nil
}
