// Package lab is the place where the grid is tried out: a cluster of member
// processes on this machine, which can be started, asked, frozen and killed.
//
// A [Lab] has [Member]s, each with its folder and its latest [Process]. Opened by
// any program it is a cluster on the loopback interface, with ports that were free.
// A program that has called [Enter] runs inside of private namespaces, and its lab
// is more like a rack: every member and every client has an address of its own, in
// a network where links can be cut, and every member has a file system of its own,
// on an image file, that can be filled, lose power, and be mounted again. Nothing
// of it is seen from outside, and nothing is left of it when the program has ended,
// however it ends. [Rights] says what of this cannot be done here, and why.
//
// Members are processes of the program under test, as it is shipped. The lab knows
// them by their command line, their doors and what they say of themselves; it does
// not reach into them. What is done to them is chosen elsewhere.
package lab
