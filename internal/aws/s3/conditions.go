package s3

import (
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/wire"
)

func preconditionFailed(condition string) *wire.Error {
	return api.PreconditionFailed("At least one of the pre-conditions you specified did not hold").With("Condition", condition)
}

// sameETag reports whether a list of entity tags, with or without quotes, or "*",
// names the tag.
func sameETag(list, etag string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.Trim(strings.TrimPrefix(tag, "W/"), `"`) == etag {
			return true
		}
	}
	return false
}

// readConditions decides the preconditions of a read in the order of RFC 9110,
// 13.2.2, which S3 follows.
func readConditions(o *data.Object, match, noneMatch string, modifiedSince, unmodifiedSince time.Time) error {
	switch {
	case match != "":
		if !sameETag(match, o.ETag) {
			return preconditionFailed("If-Match")
		}
	case !unmodifiedSince.IsZero() && o.Modified.After(unmodifiedSince):
		return preconditionFailed("If-Unmodified-Since")
	}
	switch {
	case noneMatch != "":
		if sameETag(noneMatch, o.ETag) {
			return notModified()
		}
	case !modifiedSince.IsZero() && !o.Modified.After(modifiedSince):
		return notModified()
	}
	return nil
}

func notModified() *wire.Error {
	e := api.NotModified("Not Modified")
	e.NoMessage = true
	return e
}

// copyConditions decides x-amz-copy-source-if-*, each of which fails alike.
func copyConditions(o *data.Object, match, noneMatch string, modifiedSince, unmodifiedSince time.Time) error {
	err := readConditions(o, match, noneMatch, modifiedSince, unmodifiedSince)
	if err == nil {
		return nil
	}
	condition := "x-amz-copy-source-If-Match"
	switch {
	case match != "" && !sameETag(match, o.ETag):
	case match == "" && !unmodifiedSince.IsZero() && o.Modified.After(unmodifiedSince):
		condition = "x-amz-copy-source-If-Unmodified-Since"
	case noneMatch != "":
		condition = "x-amz-copy-source-If-None-Match"
	default:
		condition = "x-amz-copy-source-If-Modified-Since"
	}
	return preconditionFailed(condition)
}

// matches is If-Match of a write: the current object must have the entity tag.
func matches(key, etag string) data.Check {
	return func(current *data.Object) error {
		switch {
		case current == nil:
			return noSuchKey(key)
		case !sameETag(etag, current.ETag):
			return preconditionFailed("If-Match")
		}
		return nil
	}
}

// writeConditions are those of PutObject and its kin: If-Match an entity tag, or
// If-None-Match "*", which is that there must be no current object.
func writeConditions(key, match, noneMatch string) (data.Check, error) {
	switch {
	case match != "" && noneMatch != "":
		return nil, notImplemented("If-Match,If-None-Match")
	case match == "*":
		return nil, notImplemented("If-Match")
	case match != "":
		return matches(key, match), nil
	case noneMatch == "":
		return nil, nil
	case noneMatch != "*":
		return nil, notImplemented("If-None-Match")
	}
	return func(current *data.Object) error {
		if current != nil {
			return preconditionFailed("If-None-Match")
		}
		return nil
	}, nil
}

// parseRange reads a Range header. One that is not a single range of bytes is as if
// it were not there; one that no byte is in is an error.
func parseRange(header string, size int64) (off, length int64, partial bool, err error) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	from, to, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok || !dash {
		return 0, size, false, nil
	}
	unsatisfiable := api.InvalidRange("The requested range is not satisfiable").With("RangeRequested", header).With("ActualObjectSize", strconv.FormatInt(size, 10))
	if from == "" { // the last so many
		n, err := strconv.ParseUint(to, 10, 63)
		if err != nil {
			return 0, size, false, nil
		}
		if n == 0 || size == 0 {
			return 0, 0, false, unsatisfiable
		}
		length = min(int64(n), size)
		return size - length, length, true, nil
	}
	first, err := strconv.ParseUint(from, 10, 63)
	if err != nil {
		return 0, size, false, nil
	}
	last := uint64(size) - 1
	if to != "" {
		if last, err = strconv.ParseUint(to, 10, 63); err != nil || last < first {
			return 0, size, false, nil
		}
	}
	if first >= uint64(size) {
		return 0, 0, false, unsatisfiable
	}
	last = min(last, uint64(size)-1)
	return int64(first), int64(last-first) + 1, true, nil
}
