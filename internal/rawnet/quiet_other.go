//go:build !unix

package rawnet

func quietFD(uintptr) bool { return false }
