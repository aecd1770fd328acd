package main

import "testing"

// What is measured is the same: all engines answer alike.
func TestAgree(t *testing.T) {
	for _, n := range []int{2, 10, 100} {
		for _, wild := range []bool{false, true} {
			if err := agree(n, wild); err != nil {
				t.Errorf("%d statements, wild %t: %v", n, wild, err)
			}
		}
	}
}
