//go:build stories

package stories

import (
	"encoding/json"
	"strings"
	"testing"
)

// ask is the text at a query of an answer.
func (p *person) ask(query string, args ...string) string {
	p.t.Helper()
	return strings.TrimSpace(p.aws(append(args, "--query", query, "--output", "text")...))
}

// An organisation's policy stops a member's root user at once, and lets them go on at
// once when it is taken away; a new account is entered by its role.
func TestOrganization(t *testing.T) { eachCLI(t, organization) }

func organization(t *testing.T, c *cli) {
	s := serve(t, "--account", accountA, "--account", accountB)
	s.cli = c
	a, b := s.root(accountA), s.root(accountB)

	b.refused("AWSOrganizationsNotInUseException", "organizations", "describe-organization")
	id := a.ask("Organization.Id", "organizations", "create-organization")
	root := a.ask("Roots[0].Id", "organizations", "list-roots")
	ou := a.ask("OrganizationalUnit.Id", "organizations", "create-organizational-unit", "--parent-id", root, "--name", "work")

	// Account B is invited and joins.
	invitation := a.ask("Handshake.Id", "organizations", "invite-account-to-organization", "--target", "Id="+accountB+",Type=ACCOUNT")
	if state := b.ask("Handshake.State", "organizations", "accept-handshake", "--handshake-id", invitation); state != "ACCEPTED" {
		t.Errorf("the handshake is %s", state)
	}
	a.aws("organizations", "move-account", "--account-id", accountB, "--source-parent-id", root, "--destination-parent-id", ou)

	// The policy denies what B's root user did a moment ago.
	users := []string{"iam", "list-users"}
	b.aws(users...)
	a.aws("organizations", "enable-policy-type", "--root-id", root, "--policy-type", "SERVICE_CONTROL_POLICY")
	a.file("scp.json", `{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "iam:*", "Resource": "*"}}`)
	policy := a.ask("Policy.PolicySummary.Id", "organizations", "create-policy", "--name", "no-iam", "--description", "", "--type", "SERVICE_CONTROL_POLICY", "--content", "file://scp.json")
	b.aws(users...)
	attach := []string{"organizations", "attach-policy", "--policy-id", policy, "--target-id", ou}
	a.aws(attach...)
	a.refused("DuplicatePolicyAttachmentException", attach...)
	b.refused("with an explicit deny in a service control policy: arn:aws:organizations::"+accountA+":policy/"+id+"/service_control_policy/"+policy, users...)
	a.aws(users...) // the management account is not limited

	// Killed in the middle, it holds afterwards.
	s.kill()
	s.start()
	endpoint := "AWS_ENDPOINT_URL=" + s.url
	a, b = a.with(endpoint), b.with(endpoint)
	b.refused("with an explicit deny in a service control policy", users...)
	a.aws("organizations", "detach-policy", "--policy-id", policy, "--target-id", ou)
	b.aws(users...)
	a.refused("You cannot remove the last policy", "organizations", "detach-policy", "--policy-id", "p-FullAWSAccess", "--target-id", ou)

	// A new account, entered by the role that is made with it.
	var made struct {
		CreateAccountStatus struct{ Id, State, AccountId string }
	}
	if err := json.Unmarshal([]byte(a.aws("organizations", "create-account", "--email", "dev@example.com", "--account-name", "Dev")), &made); err != nil {
		t.Fatal(err)
	}
	dev := made.CreateAccountStatus.AccountId
	if state := a.ask("CreateAccountStatus.State", "organizations", "describe-create-account-status", "--create-account-request-id", made.CreateAccountStatus.Id); state != "SUCCEEDED" {
		t.Errorf("the account's state is %s", state)
	}
	admin := a.user("admin", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`)
	inside := admin.credentials(admin.aws("sts", "assume-role", "--role-arn", "arn:aws:iam::"+dev+":role/OrganizationAccountAccessRole", "--role-session-name", "admin"))
	inside.aws("iam", "create-user", "--user-name", "first")
	if n := a.ask("length(Accounts)", "organizations", "list-accounts", "--max-items", "100"); n != "3" {
		t.Errorf("there are %s accounts, want 3", n)
	}

	// Closed, nobody works in it any more.
	a.aws("organizations", "close-account", "--account-id", dev)
	inside.refused("InvalidClientTokenId", "sts", "get-caller-identity")
	if status := a.ask("Account.Status", "organizations", "describe-account", "--account-id", dev); status != "SUSPENDED" {
		t.Errorf("the closed account is %s", status)
	}
	a.refused("does not match the required pattern", "organizations", "describe-account", "--account-id", "12345678901a")
}
