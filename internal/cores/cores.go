// Package cores keeps the server and a program that it waits for on different cores.
//
//	cores.Place(pid, cores.Second(cores.All())) // the program keeps to the second half
//	release := cores.Confine()                  // and the server's threads to the first, unless nil
//
// Of two that wait for each other Linux has the one run where the other was, unless a core
// is idle there and then. In a virtual machine no core is, once it has had nothing to do for
// a moment: the host has taken it away (vcpu_is_preempted). Both then run on one core beside
// an empty one, and whatever the one runs through the other has to find again.
//
// On other systems than Linux all stay where they are.
package cores
