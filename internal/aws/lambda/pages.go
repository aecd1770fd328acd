package lambda

import (
	"encoding/base64"
	"syscall"

	"github.com/iamd-dev/iamd/internal/aws/lambda/api"
)

// A marker is the key after which the next page begins.
func marker(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

func readMarker(text string) (string, error) {
	key, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", api.InvalidParameterValue("Invalid pagination token provided")
	}
	return string(key), nil
}

// pageSize is how many items an answer may have.
func pageSize(asked *int32, most int) int {
	if asked == nil {
		return most
	}
	return min(int(*asked), most)
}

// page is a page of sorted keys after the marker's.
func page(keys []string, text string, most int) (some []string, next string, err error) {
	after, err := readMarker(text)
	if err != nil {
		return nil, "", err
	}
	for _, k := range keys {
		if k <= after && after != "" {
			continue
		}
		if len(some) == most {
			return some, marker(some[most-1]), nil
		}
		some = append(some, k)
	}
	return some, "", nil
}

// What the disk says when it is not the caller's fault.
const (
	errNoSpace = syscall.ENOSPC
	errQuota   = syscall.EDQUOT
	errIO      = syscall.EIO
)
