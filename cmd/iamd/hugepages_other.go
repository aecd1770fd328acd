//go:build !linux

package main

// adviseHuge does nothing where huge pages are the kernel's own affair.
func adviseHuge(uintptr) {}
