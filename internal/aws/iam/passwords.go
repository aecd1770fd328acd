package iam

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// Passwords are for a console, which iamd has not; tools make, change and delete them
// all the same. They are kept as hashes, and checked by the account's password policy
// when they are set.

// A loginProfile is a user's password. It is kept under the user's unique id.
type loginProfile struct {
	Created       time.Time
	Changed       time.Time
	ResetRequired bool
	Hash          string            // see hashPassword
	Previous      []string          `json:",omitempty"` // hashes, newest first, as many as the policy wants
	Wrong         identity.Attempts // at the old password, in ChangePassword
}

var (
	loginProfiles    = store.NewTable[loginProfile]("loginprofiles")
	passwordPolicies = store.NewTable[api.PasswordPolicy]("passwordpolicies") // account -> its own policy
)

// What Argon2id costs: the parameters of OWASP's "Password Storage Cheat Sheet". They
// stand in each hash, so that old hashes hold when these change.
const (
	hashPasses  = 2
	hashMemory  = 19 << 10 // KiB
	hashThreads = 1
	hashSalt    = 16 // bytes
	hashLength  = 32
)

// hashPassword makes "$argon2id$v=19$m=...,t=...,p=...$salt$hash".
func hashPassword(password string) string {
	var salt [hashSalt]byte
	rand.Read(salt[:])
	hash := argon2.IDKey([]byte(password), salt[:], hashPasses, hashMemory, hashThreads, hashLength)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashPasses, hashThreads,
		base64.RawStdEncoding.EncodeToString(salt[:]), base64.RawStdEncoding.EncodeToString(hash))
}

// isPassword reports whether a hash is that of the password. A hash that cannot be
// read is an error: it must not let a password through, nor an old one be used again.
func isPassword(hash, password string) (bool, error) {
	var version int
	var memory, passes uint32
	var threads uint8
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, errors.New("a password is not kept as an Argon2id hash")
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &passes, &threads); err != nil ||
		version != argon2.Version || passes < 1 || threads < 1 || memory > 1<<20 {
		return false, errors.New("a password is kept as a hash with unknown parameters")
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(want) < 16 {
		return false, errors.New("a password is kept as a hash that cannot be read")
	}
	got := argon2.IDKey([]byte(password), salt, passes, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// hashing waits for its turn to hash, as hashes cost processor and memory by purpose,
// and returns what ends the turn.
func (s *Service) hashing(ctx context.Context) (end func(), err error) {
	select {
	case s.hashes <- struct{}{}:
		return func() { <-s.hashes }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A passwordRule is one that a password can break.
type passwordRule struct {
	broken func(password string) bool
	text   string
}

const (
	symbols       = "!@#$%^&*()_+-=[]{}|'"
	defaultLength = 8 // of accounts without a policy of their own
	policyLength  = 6 // of a policy that says nothing
	characterKind = 3 // of the four that accounts without a policy want
)

// characterRules are about the kinds of characters, as AWS counts them.
var characterRules = []struct {
	passwordRule
	wanted func(*api.PasswordPolicy) bool
}{
	{lacks("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "uppercase letter"), func(p *api.PasswordPolicy) bool { return p.RequireUppercaseCharacters }},
	{lacks("abcdefghijklmnopqrstuvwxyz", "lowercase letter"), func(p *api.PasswordPolicy) bool { return p.RequireLowercaseCharacters }},
	{lacks("0123456789", "number"), func(p *api.PasswordPolicy) bool { return p.RequireNumbers }},
	{lacks(symbols, "symbol"), func(p *api.PasswordPolicy) bool { return p.RequireSymbols }},
}

func lacks(characters, what string) passwordRule {
	return passwordRule{func(password string) bool { return !strings.ContainsAny(password, characters) }, "Password should have at least one " + what}
}

// checkPassword holds a password against the account's policy, or against AWS's where
// it has none: eight characters, three kinds of them, not the name of the account.
func checkPassword(r store.Reader, account, password string) error {
	p := passwordPolicies.Get(r, account)
	least := int32(defaultLength)
	if p != nil {
		least = p.MinimumPasswordLength
	}
	var broken []string
	if utf8.RuneCountInString(password) < int(least) {
		broken = append(broken, fmt.Sprintf("Password should have a minimum length of %d", least))
	}
	var lacking []string
	for _, rule := range characterRules {
		if (p == nil || rule.wanted(p)) && rule.broken(password) {
			lacking = append(lacking, rule.text)
		}
	}
	if p != nil {
		broken = append(broken, lacking...)
	} else if more := len(lacking) - (len(characterRules) - characterKind); more > 0 {
		broken = append(broken, fmt.Sprintf("Password should meet %d more of the following requirements: %s", more, strings.Join(lacking, ", ")))
	} else if a := identity.Accounts.Get(r, account); a != nil && (password == a.Name || password == a.Alias) {
		broken = append(broken, "Password should not be the name of the account")
	}
	if len(broken) > 0 {
		return api.PasswordPolicyViolation("%s", strings.Join(broken, ", "))
	}
	return nil
}

// expiryOf is when a password that was set at some time expires; zero for never.
func expiryOf(p *api.PasswordPolicy, changed time.Time) time.Time {
	if p == nil || p.MaxPasswordAge == 0 {
		return time.Time{}
	}
	return changed.AddDate(0, 0, int(p.MaxPasswordAge))
}

func (s *Service) createLoginProfile(ctx context.Context, c *service.Call, in *api.CreateLoginProfileInput) (*api.CreateLoginProfileOutput, error) {
	u, err := passwordUser(c.State, c, in.UserName)
	if err != nil {
		return nil, err
	}
	if loginProfiles.Get(c.State, u.UserId) != nil {
		return nil, api.EntityAlreadyExists("Login Profile for user %s already exists.", u.UserName)
	}
	if in.Password == "" {
		return nil, api.ValidationError("1 validation error detected: Value at 'password' failed to satisfy constraint: Member must not be null")
	}
	if err := checkPassword(c.State, c.Account, in.Password); err != nil {
		return nil, err
	}
	end, err := s.hashing(ctx)
	if err != nil {
		return nil, err
	}
	p := &loginProfile{Created: now(c), Changed: now(c), ResetRequired: in.PasswordResetRequired != nil && *in.PasswordResetRequired, Hash: hashPassword(in.Password)}
	end()
	err = s.update(ctx, func(tx *store.Tx) error {
		u, err := users.get(tx, c, u.UserName)
		if err != nil {
			return err
		}
		if loginProfiles.Get(tx, u.UserId) != nil {
			return api.EntityAlreadyExists("Login Profile for user %s already exists.", u.UserName)
		}
		loginProfiles.Put(tx, u.UserId, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateLoginProfileOutput{LoginProfile: p.shown(u)}, nil
}

func (p *loginProfile) shown(u *identity.User) *api.LoginProfile {
	return &api.LoginProfile{UserName: u.UserName, CreateDate: p.Created, PasswordResetRequired: p.ResetRequired}
}

// passwordUser is the user whose password an operation is about. The root has none
// that could be set here.
func passwordUser(r store.Reader, c *service.Call, name string) (*identity.User, error) {
	u, err := userOrSelf(r, c, name)
	if err == nil && u == nil {
		return nil, noLoginProfile(rootName)
	}
	return u, err
}

func noLoginProfile(name string) error {
	return api.NoSuchEntity("Login Profile for User %s cannot be found.", name)
}

func (s *Service) getLoginProfile(_ context.Context, c *service.Call, in *api.GetLoginProfileInput) (*api.GetLoginProfileOutput, error) {
	u, err := passwordUser(c.State, c, in.UserName)
	if err != nil {
		return nil, err
	}
	p := loginProfiles.Get(c.State, u.UserId)
	if p == nil {
		return nil, noLoginProfile(u.UserName)
	}
	return &api.GetLoginProfileOutput{LoginProfile: p.shown(u)}, nil
}

func (s *Service) deleteLoginProfile(ctx context.Context, c *service.Call, in *api.DeleteLoginProfileInput) (*none, error) {
	return nil, s.update(ctx, func(tx *store.Tx) error {
		u, err := passwordUser(tx, c, in.UserName)
		if err != nil {
			return err
		}
		if loginProfiles.Get(tx, u.UserId) == nil {
			return api.NoSuchEntity("Cannot find Login Profile for User %s", u.UserName)
		}
		loginProfiles.Delete(tx, u.UserId)
		return nil
	})
}

func (s *Service) updateLoginProfile(ctx context.Context, c *service.Call, in *api.UpdateLoginProfileInput) (*none, error) {
	u, err := users.get(c.State, c, in.UserName)
	if err != nil {
		return nil, err
	}
	return nil, s.setPassword(ctx, c, c.State, u, in.Password, in.PasswordResetRequired)
}

// setPassword gives a user who has a password a new one, if it is not empty. What is
// costly is done on the state that is given; the change is made if the password is
// still the one that was there then.
func (s *Service) setPassword(ctx context.Context, c *service.Call, state *store.Snapshot, u *identity.User, password string, resetRequired *bool) error {
	before := loginProfiles.Get(state, u.UserId)
	if before == nil {
		return noLoginProfile(u.UserName)
	}
	after := *before
	if resetRequired != nil {
		after.ResetRequired = *resetRequired
	}
	if password != "" {
		if err := checkPassword(state, c.Account, password); err != nil {
			return err
		}
		end, err := s.hashing(ctx)
		if err != nil {
			return err
		}
		defer end()
		remembered := 0
		if p := passwordPolicies.Get(state, c.Account); p != nil {
			remembered = int(p.PasswordReusePrevention)
		}
		old := append([]string{before.Hash}, before.Previous...)
		old = old[:min(len(old), remembered)]
		for _, hash := range old {
			used, err := isPassword(hash, password)
			if err != nil {
				return err
			}
			if used {
				return api.PasswordPolicyViolation("Password does not conform to the account password policy. It was used before.")
			}
		}
		// The current one is remembered in its own place: it is the first of the old ones.
		after.Previous = old[:min(len(old), max(remembered-1, 0))]
		after.Hash, after.Changed, after.Wrong = hashPassword(password), now(c), identity.Attempts{}
	}
	return s.update(ctx, func(tx *store.Tx) error {
		if _, err := users.get(tx, c, u.UserName); err != nil {
			return err
		}
		current := loginProfiles.Get(tx, u.UserId)
		if current == nil {
			return noLoginProfile(u.UserName)
		}
		if current.Hash != before.Hash {
			return api.ConcurrentModification("The password of user %s was changed while the request was processed. Submit your request again.", u.UserName)
		}
		if password == "" {
			after.Wrong = current.Wrong
		}
		loginProfiles.Put(tx, u.UserId, &after)
		return nil
	})
}

// usersOnly is what AWS says of a caller who has no password to change.
func usersOnly(c *service.Call, _ *api.ChangePasswordInput) error {
	if c.Caller.Type != identity.IAMUser {
		return api.InvalidUserType("Only IAM users can change their own password.")
	}
	return nil
}

// themselves is the user who calls.
var themselves = service.On(func(c *service.Call, _ *api.ChangePasswordInput) []service.Target {
	if c.Caller.User == nil {
		return []service.Target{{ARN: c.Caller.ARN}}
	}
	return []service.Target{{ARN: arn.ARN(c.Caller.User.Arn), Text: users.text(c.Caller.User.UserName)}}
})

// changePassword counts the attempt as a wrong one before it looks at the old
// password, so that many at once are no more guesses than one after the other.
func (s *Service) changePassword(ctx context.Context, c *service.Call, in *api.ChangePasswordInput) (*none, error) {
	u := c.Caller.User
	hash := ""
	attempt := func(f func(*loginProfile) error) error {
		return s.update(ctx, func(tx *store.Tx) error {
			p := loginProfiles.Get(tx, u.UserId)
			if p == nil {
				return noLoginProfile(u.UserName)
			}
			if err := f(p); err != nil {
				return err
			}
			loginProfiles.Put(tx, u.UserId, p)
			return nil
		})
	}
	err := attempt(func(p *loginProfile) error {
		if p.Wrong.Stopped(c.Time) {
			return api.AccessDenied("The old password is not looked at: there were too many that are not right. Try again later.")
		}
		p.Wrong.Add(c.Time)
		hash = p.Hash
		return nil
	})
	if err != nil {
		return nil, err
	}
	end, err := s.hashing(ctx)
	if err != nil {
		return nil, err
	}
	right, err := isPassword(hash, in.OldPassword)
	end()
	switch {
	case err != nil:
		return nil, err
	case !right:
		return nil, api.AccessDenied("The old password was incorrect.")
	}
	err = attempt(func(p *loginProfile) error {
		if p.Hash != hash {
			return api.ConcurrentModification("The password of user %s was changed while the request was processed. Submit your request again.", u.UserName)
		}
		p.Wrong = identity.Attempts{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	state := s.DB.View()
	p, policy := loginProfiles.Get(state, u.UserId), passwordPolicies.Get(state, c.Account)
	if p != nil && policy != nil && policy.HardExpiry && expired(expiryOf(policy, p.Changed), c) {
		return nil, api.PasswordPolicyViolation("The password has expired and must be set by an administrator.")
	}
	no := false
	return nil, s.setPassword(ctx, c, state, u, in.NewPassword, &no)
}

// selfService is what lets users change their own passwords where the account's policy
// says that they may: IAM gives the permission "at the account level for all users"
// (IAM User Guide, "Set an account password policy"), as if each user had a policy
// that names them. A Deny still denies.
func selfService(r store.Reader, u *identity.User) identity.Document {
	if p := passwordPolicies.Get(r, arn.ARN(u.Arn).Account()); p == nil || !p.AllowUsersToChangePassword {
		return identity.Document{}
	}
	return identity.NewDocument(fmt.Sprintf(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": %q}, "Action": "iam:ChangePassword", "Resource": "*"}}`, u.UserId))
}

func (s *Service) updateAccountPasswordPolicy(ctx context.Context, c *service.Call, in *api.UpdateAccountPasswordPolicyInput) (*none, error) {
	is := func(b *bool) bool { return b != nil && *b }
	number := func(n *int32, otherwise int32) int32 {
		if n == nil {
			return otherwise
		}
		return *n
	}
	// What is left out is as if there were no policy yet, and not as it was.
	p := &api.PasswordPolicy{
		MinimumPasswordLength:      number(in.MinimumPasswordLength, policyLength),
		RequireSymbols:             is(in.RequireSymbols),
		RequireNumbers:             is(in.RequireNumbers),
		RequireUppercaseCharacters: is(in.RequireUppercaseCharacters),
		RequireLowercaseCharacters: is(in.RequireLowercaseCharacters),
		AllowUsersToChangePassword: is(in.AllowUsersToChangePassword),
		ExpirePasswords:            in.MaxPasswordAge != nil,
		MaxPasswordAge:             number(in.MaxPasswordAge, 0),
		PasswordReusePrevention:    number(in.PasswordReusePrevention, 0),
		HardExpiry:                 is(in.HardExpiry),
	}
	return nil, s.update(ctx, func(tx *store.Tx) error {
		passwordPolicies.Put(tx, c.Account, p)
		return nil
	})
}

func noPasswordPolicy(c *service.Call) error {
	return api.NoSuchEntity("The Password Policy with domain name %s cannot be found.", c.Account)
}

func (s *Service) getAccountPasswordPolicy(_ context.Context, c *service.Call, _ *api.GetAccountPasswordPolicyInput) (*api.GetAccountPasswordPolicyOutput, error) {
	p := passwordPolicies.Get(c.State, c.Account)
	if p == nil {
		return nil, noPasswordPolicy(c)
	}
	return &api.GetAccountPasswordPolicyOutput{PasswordPolicy: p}, nil
}

func (s *Service) deleteAccountPasswordPolicy(ctx context.Context, c *service.Call, _ *api.DeleteAccountPasswordPolicyInput) (*none, error) {
	return nil, s.update(ctx, func(tx *store.Tx) error {
		if passwordPolicies.Get(tx, c.Account) == nil {
			return noPasswordPolicy(c)
		}
		passwordPolicies.Delete(tx, c.Account)
		return nil
	})
}
