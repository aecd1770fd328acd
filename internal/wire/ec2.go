package wire

import (
	"reflect"
	"strings"
)

// EC2's protocol is the Query protocol with rules of its own. In forms the names of
// members begin with a capital, lists are flat (InstanceId.1=i-1) and a name that is no
// parameter is refused; what is wrong with an input is told of the first fault alone, as
// an InvalidParameterValue. Answers have no result element, and what has no output
// answers that it went well.

// enveloped names what a form holds beside the operation's parameters: its name, and
// what signs a form that is a query string.
func enveloped(name string) bool {
	switch name {
	case "Action", "Version", "AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "Timestamp", "Expires":
		return true
	}
	return strings.HasPrefix(strings.ToLower(name), "x-amz-")
}

func unknownParameter(name string) error {
	return Errorf(400, "UnknownParameter", "The parameter %s is not recognized", name)
}

func unknownAction(action, version string) error {
	if action == "" {
		return Errorf(400, "MissingAction", "The request is missing an action or a required parameter.")
	}
	return Errorf(400, "InvalidAction", "The action %s is not valid for this web service.", action)
}

// invalidValue is what is said of a value; why may be "".
func invalidValue(value, path, why string) error {
	if why != "" {
		why = " " + why
	}
	return Errorf(400, "InvalidParameterValue", "Value (%s) for parameter %s is invalid.%s", value, path, why)
}

// ec2 returns the first fault in EC2's words, or nil. Absent parameters come before bad ones.
func (fs *faults) ec2() error {
	for _, f := range fs.list {
		if f.reason == absent {
			return Errorf(400, "MissingParameter", "The request must contain the parameter %s", capitals(f.path))
		}
	}
	if len(fs.list) == 0 {
		return nil
	}
	f := fs.list[0]
	return invalidValue(strings.Trim(f.value, "'"), f.path, f.expecting())
}

// capitals is the path of a member as forms have it.
func capitals(path string) string {
	parts := strings.Split(path, ".")
	for i, p := range parts {
		parts[i] = strings.ToUpper(p[:1]) + p[1:]
	}
	return strings.Join(parts, ".")
}

// expecting is what should have been there instead of the fault's value. Of enumerations it is not said.
func (f *fault) expecting() string {
	for have, say := range map[string]string{
		"Member must have value less than or equal to ":     "Expecting a value less than or equal to ",
		"Member must have value greater than or equal to ":  "Expecting a value greater than or equal to ",
		"Member must have length less than or equal to ":    "Expecting a length less than or equal to ",
		"Member must have length greater than or equal to ": "Expecting a length greater than or equal to ",
	} {
		if limit, ok := strings.CutPrefix(f.text, have); ok {
			return say + limit + "."
		}
	}
	return ""
}

// appendEC2 writes an answer.
func appendEC2(dst []byte, m *Model, op *Operation, out any, requestID string) []byte {
	dst = append(dst, xmlHeader...)
	dst = append(append(append(dst, '<'), op.Name...), `Response xmlns="`...)
	dst = append(append(dst, m.Namespace...), `"><requestId>`...)
	dst = append(appendText(dst, requestID), `</requestId>`...)
	if op.Out == nil {
		dst = append(dst, `<return>true</return>`...)
	} else if v := reflect.ValueOf(out); v.Kind() == reflect.Pointer && !v.IsNil() {
		dst = appendMembers(dst, planOf(v.Elem().Type()), v.Elem(), isoMillis)
	}
	return append(append(append(dst, '<', '/'), op.Name...), `Response>`...)
}

const xmlHeader = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

func appendEC2Error(dst []byte, e *Error, requestID string) []byte {
	dst = append(dst, xmlHeader+`<Response><Errors><Error><Code>`...)
	dst = append(appendText(dst, e.Code), `</Code><Message>`...)
	dst = append(appendText(dst, e.Message), `</Message>`...)
	dst = append(appendFields(dst, e.Fields), `</Error></Errors><RequestID>`...)
	return append(appendText(dst, requestID), `</RequestID></Response>`...)
}
