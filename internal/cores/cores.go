// Package cores keeps the server and a program that it waits for on different cores.
//
//	cores.Place(pid, cores.Second(cores.All())) // the program keeps to the second half
//	release := cores.Confine()                  // and the server's threads to the first, unless nil
//
// Of two that wait for each other Linux has the one run where the other was, unless a core
// is idle there and then. In a virtual machine a core that the host has taken away while it
// had nothing to do seems not to count (vcpu_is_preempted): both were seen on one core beside
// an empty one. There, whatever the one runs through the other has to find again.
//
// On other systems than Linux all stay where they are.
package cores
