package main

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

//go:embed models/*.json.gz models/*.json
var models embed.FS

// apiModel is the part of a botocore service-2.json that we read. The same types
// write the trimmed copy, so what is not named here is not kept.
type apiModel struct {
	Metadata   metadata                `json:"metadata"`
	Operations map[string]apiOperation `json:"operations"`
	Shapes     map[string]*shape       `json:"shapes"`
}

type metadata struct {
	APIVersion      string   `json:"apiVersion"`
	EndpointPrefix  string   `json:"endpointPrefix"`
	GlobalEndpoint  string   `json:"globalEndpoint,omitempty"`
	JSONVersion     string   `json:"jsonVersion,omitempty"`
	Protocol        string   `json:"protocol"`
	Protocols       []string `json:"protocols,omitempty"`
	ServiceFullName string   `json:"serviceFullName"`
	ServiceID       string   `json:"serviceId"`
	SigningName     string   `json:"signingName,omitempty"`
	TargetPrefix    string   `json:"targetPrefix,omitempty"`
	XMLNamespace    string   `json:"xmlNamespace,omitempty"`
}

type apiOperation struct {
	Name string `json:"name"`
	HTTP struct {
		Method       string `json:"method"`
		RequestURI   string `json:"requestUri"`
		ResponseCode int    `json:"responseCode,omitempty"`
	} `json:"http"`
	Input      *ref  `json:"input,omitempty"`
	Output     *ref  `json:"output,omitempty"`
	Errors     []ref `json:"errors,omitempty"`
	Deprecated bool  `json:"deprecated,omitempty"`
	// Authtype is "none" for calls without a signature.
	Authtype     string `json:"authtype,omitempty"`
	HTTPChecksum *struct {
		RequestChecksumRequired bool `json:"requestChecksumRequired,omitempty"`
	} `json:"httpChecksum,omitempty"`
	HTTPChecksumRequired bool `json:"httpChecksumRequired,omitempty"`
}

// A ref is a use of a shape: a member, a list's element.
type ref struct {
	Shape         string        `json:"shape"`
	Location      string        `json:"location,omitempty"`
	LocationName  string        `json:"locationName,omitempty"`
	ResultWrapper string        `json:"resultWrapper,omitempty"`
	Flattened     bool          `json:"flattened,omitempty"`
	Streaming     bool          `json:"streaming,omitempty"`
	XMLAttribute  bool          `json:"xmlAttribute,omitempty"`
	QueryName     string        `json:"queryName,omitempty"`
	XMLNamespace  *xmlNamespace `json:"xmlNamespace,omitempty"`
	Deprecated    bool          `json:"deprecated,omitempty"`
}

type xmlNamespace struct {
	Prefix string `json:"prefix,omitempty"`
	URI    string `json:"uri"`
}

type shape struct {
	Type            string   `json:"type"`
	Required        []string `json:"required,omitempty"`
	Members         *members `json:"members,omitempty"`
	Member          *ref     `json:"member,omitempty"`
	Key             *ref     `json:"key,omitempty"`
	Value           *ref     `json:"value,omitempty"`
	Enum            []string `json:"enum,omitempty"`
	Min             *float64 `json:"min,omitempty"`
	Max             *float64 `json:"max,omitempty"`
	Pattern         string   `json:"pattern,omitempty"`
	Flattened       bool     `json:"flattened,omitempty"`
	Sensitive       bool     `json:"sensitive,omitempty"`
	Streaming       bool     `json:"streaming,omitempty"`
	Payload         string   `json:"payload,omitempty"`
	TimestampFormat string   `json:"timestampFormat,omitempty"`
	LocationName    string   `json:"locationName,omitempty"`
	Exception       bool     `json:"exception,omitempty"`
	EventStream     bool     `json:"eventstream,omitempty"`
	Fault           bool     `json:"fault,omitempty"`
	Error           *struct {
		Code           string `json:"code,omitempty"`
		HTTPStatusCode int    `json:"httpStatusCode,omitempty"`
	} `json:"error,omitempty"`
}

func (s *shape) requires(member string) bool {
	for _, r := range s.Required {
		if r == member {
			return true
		}
	}
	return false
}

// members is a JSON object whose order is kept: it is the order of elements on the wire.
type members struct {
	names []string
	refs  map[string]ref
}

func (m *members) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &m.refs); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		m.names = append(m.names, name.(string))
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			return err
		}
	}
	return nil
}

func (m *members) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range m.names {
		if i > 0 {
			b.WriteByte(',')
		}
		r, err := json.Marshal(m.refs[name])
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%q:%s", name, r)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// parseModel reads a model, compressed or not.
func parseModel(data []byte) (*apiModel, error) {
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		if data, err = io.ReadAll(z); err != nil {
			return nil, err
		}
	}
	m := new(apiModel)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, err
	}
	return m, nil
}

// loadModel reads one of the models kept here, with what newer clients know beside it.
func loadModel(name string) (*apiModel, error) {
	data, err := models.ReadFile("models/" + name + ".json.gz")
	if errors.Is(err, fs.ErrNotExist) {
		data, err = models.ReadFile("models/" + name + ".json") // written by hand
	}
	if err != nil {
		return nil, err
	}
	m, err := parseModel(data)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", name, err)
	}
	data, err = models.ReadFile("models/" + name + ".additions.json")
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	} else if err != nil {
		return nil, err
	}
	more, err := parseModel(data)
	if err != nil {
		return nil, fmt.Errorf("additions to the model %s: %w", name, err)
	}
	return m, m.add(more)
}

// add adds the operations and shapes of another model. What the model has already is
// an error: the addition has done its service.
func (m *apiModel) add(more *apiModel) error {
	var err error
	for op := range more.Operations {
		if _, ok := m.Operations[op]; ok {
			err = errors.Join(err, fmt.Errorf("the added operation %s is in the model: remove it", op))
		}
	}
	for s := range more.Shapes {
		if m.Shapes[s] != nil {
			err = errors.Join(err, fmt.Errorf("the added shape %s is in the model: remove it", s))
		}
	}
	maps.Copy(m.Operations, more.Operations)
	maps.Copy(m.Shapes, more.Shapes)
	return err
}

// importModel writes the trimmed form of a botocore model into dir, the same bytes
// for the same model, and returns the file's name. Of its operations those in ops are
// kept ("all" for every one), and the shapes that they lead to.
func importModel(source, dir string, ops []string) (string, error) {
	data, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	m, err := parseModel(data)
	if err != nil {
		return "", fmt.Errorf("model %s: %w", source, err)
	}
	if ops[0] != "all" {
		if err := m.keep(ops); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	z.Write(text)
	if err := z.Close(); err != nil {
		return "", err
	}
	name := filepath.Join(dir, serviceName(m)+"-"+m.Metadata.APIVersion+".json.gz")
	return name, os.WriteFile(name, b.Bytes(), 0o644)
}

// keep cuts the model down to some operations and what they lead to.
func (m *apiModel) keep(ops []string) error {
	operations, shapes := map[string]apiOperation{}, map[string]*shape{}
	var reach func(*ref)
	reach = func(r *ref) {
		if r == nil || shapes[r.Shape] != nil {
			return
		}
		s := m.Shapes[r.Shape]
		shapes[r.Shape] = s
		if s.Members != nil {
			for _, member := range s.Members.refs {
				reach(&member)
			}
		}
		reach(s.Member)
		reach(s.Key)
		reach(s.Value)
	}
	for _, name := range ops {
		op, ok := m.Operations[name]
		if !ok {
			return fmt.Errorf("the model has no operation %q", name)
		}
		operations[name] = op
		reach(op.Input)
		reach(op.Output)
		for i := range op.Errors {
			reach(&op.Errors[i])
		}
	}
	m.Operations, m.Shapes = operations, shapes
	return nil
}

// serviceName is the package that a model becomes: "iam", "secretsmanager".
func serviceName(m *apiModel) string {
	return strings.ToLower(strings.ReplaceAll(m.Metadata.ServiceID, " ", ""))
}
