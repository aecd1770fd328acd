package reference

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base32"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/reference/archive"
)

// A Managed is a policy that AWS keeps. Its ARN has "aws" in the place of the
// account, and it is there in every account.
type Managed struct {
	ARN            string    // "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
	DefaultVersion string    // "v5", the version whose document is kept
	Created        time.Time // of the policy
	Updated        time.Time // of the default version

	index int
}

// managedPrefix begins every ARN of a managed policy.
const managedPrefix = "arn:aws:iam::aws:policy"

// Name is the last part of the ARN: "AWSLambdaBasicExecutionRole".
func (m *Managed) Name() string { return m.ARN[strings.LastIndexByte(m.ARN, '/')+1:] }

// Path is what stands before the name: "/" or "/service-role/".
func (m *Managed) Path() string {
	return m.ARN[len(managedPrefix) : strings.LastIndexByte(m.ARN, '/')+1]
}

// ID returns a unique id of AWS's form, "ANPA" and seventeen letters and digits,
// derived from the ARN: AWS does not publish its own.
func (m *Managed) ID() string {
	sum := sha256.Sum256([]byte(m.ARN))
	return "ANPA" + base32.StdEncoding.EncodeToString(sum[:])[:17]
}

// Document unpacks the policy's JSON: the default version's, without white space
// between its parts. The largest is 150 kB (ReadOnlyAccess) and takes a millisecond or
// two, so keep what is made of it.
func (m *Managed) Document() string {
	data, err := policies().archive.Value(m.index)
	if err != nil {
		panic("reference: " + m.ARN + ": " + err.Error())
	}
	return string(data)
}

// ManagedPolicy returns the managed policy with that ARN, which, as all ARNs of
// entities, is compared exactly.
func ManagedPolicy(arn string) (*Managed, bool) {
	list := policies().list
	i, ok := slices.BinarySearchFunc(list, arn, func(m Managed, arn string) int {
		return strings.Compare(m.ARN, arn)
	})
	if !ok {
		return nil, false
	}
	return &list[i], true
}

// ManagedPolicies yields all managed policies by ARN. It unpacks no document.
func ManagedPolicies() iter.Seq[*Managed] {
	return func(yield func(*Managed) bool) {
		list := policies().list
		for i := range list {
			if !yield(&list[i]) {
				return
			}
		}
	}
}

//go:embed policies.bin
var policiesFile []byte

type managed struct {
	archive *archive.Archive
	list    []Managed // by ARN
}

var policies = sync.OnceValue(func() *managed {
	a, err := archive.Open(policiesFile)
	if err != nil {
		panic(err)
	}
	m := &managed{archive: a}
	if err := a.Header(&m.list); err != nil {
		panic(err)
	}
	for i := range m.list {
		m.list[i].index = i
	}
	return m
})
