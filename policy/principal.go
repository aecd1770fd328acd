package policy

import (
	"strings"

	"github.com/iamd-dev/iamd/arn"
)

// A name is a compiled Name.
type name struct {
	kind      nameKind
	value     string
	account   string // for an account: its 12 digits
	partition string // for an account's root ARN
}

type nameKind uint8

const (
	nameAnyone nameKind = iota
	nameAccount
	nameAWS // an ARN or a unique id
	nameService
	nameFederated
	nameCanonicalUser
	nameNone // matches nobody
)

func appendNames(compiled []name, names []Name) []name {
	for _, n := range names {
		c := name{value: n.Value, kind: nameNone}
		switch n.Kind {
		case "":
			if n.Value == "*" {
				c.kind = nameAnyone
			}
		case "AWS":
			c.kind = nameAWS
			a := arn.ARN(n.Value)
			switch {
			case n.Value == "*":
				c.kind = nameAnyone
			case isAccount(n.Value):
				c.kind, c.account = nameAccount, n.Value
			case a.Service() == "iam" && a.Resource() == "root" && isAccount(a.Account()):
				c.kind, c.account, c.partition = nameAccount, a.Account(), a.Partition()
			}
		case "Service":
			c.kind = nameService
		case "Federated":
			c.kind = nameFederated
		case "CanonicalUser":
			c.kind = nameCanonicalUser
		}
		compiled = append(compiled, c)
	}
	return compiled
}

// isSession says whether name is the session of a role by the role's unique id,
// as stored trust policies name it: AROA...:session.
func (p *Principal) isSession(name string) bool {
	session, ok := strings.CutPrefix(name, p.ID)
	if !ok || p.ID == "" || p.Role == "" || len(session) < 2 || session[0] != ':' {
		return false
	}
	mine := string(p.ARN)
	return mine[strings.LastIndexByte(mine, '/')+1:] == session[1:]
}

// isAccount says whether s is an account number.
func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// grant says in which ways the name means p; 0 is not at all.
func (n *name) grant(p *Principal) Grant {
	switch n.kind {
	case nameAnyone:
		return ByAnyone
	case nameAccount:
		switch {
		case p.Account != n.account:
		case n.partition != "" && p.ARN != "" && n.partition != p.ARN.Partition():
		case p.ARN.Service() == "iam" && p.ARN.Resource() == "root":
			return ByAccount | BySelf
		default:
			return ByAccount
		}
	case nameAWS:
		switch {
		case n.value == "":
		case n.value == string(p.ARN):
			return BySelf
		case n.value == string(p.Role) || n.value == string(p.User):
			return ByRole
		case n.value == p.ID && (p.Role != "" || p.User != ""):
			return ByRole
		case n.value == p.ID, p.isSession(n.value):
			return BySelf
		}
	case nameService:
		if n.value != "" && n.value == p.Service {
			return ByService
		}
	case nameFederated:
		if n.value != "" && n.value == p.Federated {
			return ByFederated
		}
	case nameCanonicalUser:
		if n.value != "" && n.value == p.CanonicalID {
			return ByCanonicalUser
		}
	}
	return 0
}

// grants says in which ways the names mean p.
func grants(names []name, p *Principal) Grant {
	var g Grant
	for i := range names {
		g |= names[i].grant(p)
	}
	return g
}

// covers says whether g has every name of p: the caller itself, the role or user
// behind a session, and the account.
func (g Grant) covers(p *Principal) bool {
	if g&ByAnyone != 0 {
		return true
	}
	if p.ARN != "" && g&BySelf == 0 ||
		(p.Role != "" || p.User != "") && g&ByRole == 0 ||
		p.Account != "" && g&(ByAccount|ByCanonicalUser) == 0 ||
		p.Service != "" && g&ByService == 0 ||
		p.Federated != "" && g&ByFederated == 0 {
		return false
	}
	return g != 0
}
