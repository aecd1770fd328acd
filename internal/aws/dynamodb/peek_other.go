//go:build !unix

package dynamodb

func peek(uintptr, []byte) bool { return false }
