package iam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store"
)

// A stopping log takes so many commits and then none.
type stopping struct {
	store.Log
	left int
}

var errStopped = errors.New("stopped")

func (l *stopping) Commit(ctx context.Context, checks []store.Check, writes []store.Write) (int64, error) {
	if l.left--; l.left < 0 {
		return 0, errStopped
	}
	return l.Log.Commit(ctx, checks, writes)
}

func (l *stopping) Close() error { return nil } // as when the process is killed

// large are details of more than fits in one change of the store.
func large(t *testing.T) []byte {
	t.Helper()
	const trust = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/u1"},"Action":"sts:AssumeRole"}}`
	d := AccountDetails{}
	for i := range 10 {
		d.GroupDetailList = append(d.GroupDetailList, GroupDetails{GroupName: fmt.Sprintf("g%d", i)})
	}
	for i := range 900 {
		d.UserDetailList = append(d.UserDetailList, UserDetails{UserName: fmt.Sprintf("u%d", i), GroupList: []string{"g1", "g2"}})
		d.RoleDetailList = append(d.RoleDetailList, RoleDetails{RoleName: fmt.Sprintf("r%d", i), AssumeRolePolicyDocument: trust,
			AttachedManagedPolicies: []AttachedDetails{{PolicyArn: "arn:aws:iam::aws:policy/ReadOnlyAccess"}},
			InstanceProfileList:     []ProfileDetails{{InstanceProfileName: fmt.Sprintf("p%d", i)}}, RoleLastUsed: &LastUsedDetails{LastUsedDate: StampOf(time.Unix(1e9, 0))}})
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Wherever an import is cut off, the next start takes back what it had written.
func TestImportThatIsCutOff(t *testing.T) {
	const account = "111122223333"
	details := large(t)
	tables := append(identity.Tables(), Tables()...)
	for commits := 0; ; commits++ {
		memory := store.NewMemory()
		log := &stopping{memory, 1 << 30}
		db, err := store.Open(t.Context(), log, tables...)
		if err != nil {
			t.Fatal(err)
		}
		s := &Service{DB: db, Quotas: DefaultQuotas()}
		put := func(tx *store.Tx) error {
			identity.Accounts.Put(tx, account, &identity.Account{ID: account})
			return nil
		}
		if err := db.Update(t.Context(), put); err != nil {
			t.Fatal(err)
		}
		p := s.plan(db.View(), account, details, time.Unix(1e9, 0))
		if len(p.problems) > 0 {
			t.Fatal(p.problems)
		}
		empty := len(contents(db.View()))
		log.left = commits
		err = s.writePlan(t.Context(), p)
		db.Close()
		if err != nil && !errors.Is(err, errStopped) {
			t.Fatal(err)
		}

		again, openErr := store.Open(t.Context(), &stopping{memory, 1 << 30}, tables...)
		if openErr != nil {
			t.Fatal(openErr)
		}
		if err := UndoImports(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		state := again.View()
		if identity.Imports.Get(state, account) != nil {
			t.Errorf("cut off after %d changes, the mark stands", commits)
		}
		if err == nil {
			if commits < 4 {
				t.Errorf("the import took %d changes: it is not larger than one", commits)
			}
			n := identity.Counters.Get(state, account)
			if n == nil || n.Users != 900 || n.Roles != 900 || n.Groups != 10 || n.Profiles != 900 {
				t.Errorf("imported, the account counts %+v", n)
			}
			if u := usageOf(state, account, "arn:aws:iam::aws:policy/ReadOnlyAccess"); u.Attached != 900 {
				t.Errorf("the policy is used %d times", u.Attached)
			}
			if g := identity.Groups.Get(state, identity.Key(account, "g1")); g == nil || g.Users != 900 {
				t.Errorf("the group is %+v", g)
			}
			again.Close()
			return
		}
		if held := occupied(state, account); held != "" {
			t.Errorf("cut off after %d changes, the account has %s", commits, held)
		}
		if n := len(contents(state)); n != empty && n != empty+1 { // the counts, which are zero
			t.Errorf("cut off after %d changes, there are %d keys, and before there were %d", commits, n, empty)
		}
		again.Close()
	}
}

// contents are the ids and the keys of all that an import writes.
func contents(r store.Reader) []string {
	var all []string
	for k := range identity.IDs.All(r, "") {
		all = append(all, "id "+k)
	}
	for k := range identity.Members.All(r, "") {
		all = append(all, "member "+k)
	}
	for k := range identity.HeldBy.All(r, "") {
		all = append(all, "held "+k)
	}
	for k := range identity.LastUsed.All(r, "") {
		all = append(all, "used "+k)
	}
	for k := range usages.All(r, "") {
		all = append(all, "usage "+k)
	}
	for k, n := range identity.Counters.All(r, "") {
		if *n != (identity.Counts{}) {
			all = append(all, "count "+k)
		}
	}
	return all
}

// Whoever has begun to undo an import keeps the one who imports from going on.
func TestImportThatIsUndoneMeanwhile(t *testing.T) {
	const account = "111122223333"
	db, err := store.Open(t.Context(), store.NewMemory(), append(identity.Tables(), Tables()...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := &Service{DB: db, Quotas: DefaultQuotas()}
	p := s.plan(db.View(), account, large(t), time.Unix(1e9, 0))
	mark := &identity.Import{ID: "another's"}
	if err := db.Update(t.Context(), func(tx *store.Tx) error { identity.Imports.Put(tx, account, mark); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.writePlan(t.Context(), p); err == nil || occupied(db.View(), account) != "" {
		t.Errorf("an import went into one that is going on: %v", err)
	}
}
