package iam

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// An sshKey is an SSH public key of a user: RSA, as AWS demands, in the form of
// authorized_keys without the comment. The user's name is not kept in it.
type sshKey struct{ api.SSHPublicKey }

var sshKeys = &credential[sshKey]{
	table:   store.NewTable[sshKey]("sshpublickeys"),
	field:   "SSHPublicKeyId",
	missing: noSuch("The Public Key with id %s cannot be found."),
	status:  func(k *sshKey) *string { return &k.Status },
	count:   func(n *identity.Holdings) *int { return &n.SSHPublicKeys },
}

const leastRSABits = 2048

func (s *Service) uploadSSHPublicKey(ctx context.Context, c *service.Call, in *api.UploadSSHPublicKeyInput) (*api.UploadSSHPublicKeyOutput, error) {
	key, parseError := parseSSHKey(in.SSHPublicKeyBody)
	var made api.SSHPublicKey
	id := identity.NewKeyID(identity.PublicKeyPrefix, c.Account)
	err := s.update(ctx, func(tx *store.Tx) error {
		h, err := holderOf(tx, c, in.UserName)
		if err != nil {
			return err
		}
		if parseError != nil {
			return parseError
		}
		made = api.SSHPublicKey{
			SSHPublicKeyId: id, Fingerprint: ssh.FingerprintLegacyMD5(key), SSHPublicKeyBody: authorizedKey(key), Status: active, UploadDate: now(c),
		}
		n := 1
		for _, other := range sshKeys.of(tx, h) {
			if other.SSHPublicKeyBody == made.SSHPublicKeyBody {
				return api.DuplicateSSHPublicKey("The SSH public key is already associated with the user %s.", h.name())
			}
			n++
		}
		if err := within(n, s.Quotas.SSHKeysPerUser, "SSHPublicKeysPerUser"); err != nil {
			return err
		}
		sshKeys.add(tx, c, h, id, &sshKey{made})
		made.UserName = h.name()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UploadSSHPublicKeyOutput{SSHPublicKey: &made}, nil
}

// parseSSHKey reads an RSA public key in either form that AWS takes: a line of
// authorized_keys, or PEM.
func parseSSHKey(body string) (ssh.PublicKey, error) {
	body = strings.TrimSpace(body)
	var key ssh.PublicKey
	var err error
	switch {
	case strings.HasPrefix(body, "ssh-"), strings.HasPrefix(body, "ecdsa-"), strings.HasPrefix(body, "sk-"):
		var rest []byte
		if key, _, _, rest, err = ssh.ParseAuthorizedKey([]byte(body)); err == nil && len(rest) > 0 {
			err = errors.New("it is followed by something else")
		}
	case strings.HasPrefix(body, "-----BEGIN "):
		key, err = parsePEMKey(body)
	default:
		return nil, api.UnrecognizedPublicKeyEncoding("The public key is neither in the form ssh-rsa nor in PEM.")
	}
	if err != nil {
		return nil, api.InvalidPublicKey("The public key is malformed or otherwise invalid.")
	}
	if key.Type() != ssh.KeyAlgoRSA {
		return nil, api.UnrecognizedPublicKeyEncoding("The public key is of the type %s. It must be an RSA key.", key.Type())
	}
	if k, ok := key.(ssh.CryptoPublicKey).CryptoPublicKey().(*rsa.PublicKey); !ok || k.N.BitLen() < leastRSABits {
		return nil, api.InvalidPublicKey("The public key must have at least %d bits.", leastRSABits)
	}
	return key, nil
}

func parsePEMKey(body string) (ssh.PublicKey, error) {
	block, rest := pem.Decode([]byte(body))
	if block == nil || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, errors.New("it is not one block of PEM")
	}
	if block.Type == "RSA PUBLIC KEY" {
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		return ssh.NewPublicKey(key)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	return ssh.NewPublicKey(key)
}

func authorizedKey(key ssh.PublicKey) string {
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(key)), "\n")
}

func (s *Service) getSSHPublicKey(_ context.Context, c *service.Call, in *api.GetSSHPublicKeyInput) (*api.GetSSHPublicKeyOutput, error) {
	h, err := holderOf(c.State, c, in.UserName)
	if err != nil {
		return nil, err
	}
	k, err := sshKeys.get(c.State, h, in.SSHPublicKeyId)
	if err != nil {
		return nil, err
	}
	shown := k.SSHPublicKey
	shown.UserName = h.name()
	if in.Encoding == "PEM" {
		if shown.SSHPublicKeyBody, err = pemOf(shown.SSHPublicKeyBody); err != nil {
			return nil, err
		}
	}
	return &api.GetSSHPublicKeyOutput{SSHPublicKey: &shown}, nil
}

// pemOf is a line of authorized_keys as PEM.
func pemOf(line string) (string, error) {
	key, err := parseSSHKey(line)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key.(ssh.CryptoPublicKey).CryptoPublicKey())
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

func (s *Service) listSSHPublicKeys(_ context.Context, c *service.Call, in *api.ListSSHPublicKeysInput) (*api.ListSSHPublicKeysOutput, error) {
	h, err := holderOf(c.State, c, in.UserName)
	if err != nil {
		return nil, err
	}
	p, err := paged(in.Marker, in.MaxItems, listed(sshKeys, c.State, h, func(k *sshKey) (api.SSHPublicKeyMetadata, bool) {
		return api.SSHPublicKeyMetadata{UserName: h.name(), SSHPublicKeyId: k.SSHPublicKeyId, Status: k.Status, UploadDate: k.UploadDate}, true
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListSSHPublicKeysOutput{SSHPublicKeys: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}
