package replica

import "io"

// StateMachine is what a group agrees on. The group calls its methods from one
// goroutine at a time and never concurrently with each other.
type StateMachine interface {
	// Apply applies the commands of one log entry, in order, and returns one
	// reply for each. It must depend on the state and the commands alone, must
	// not fail and must not keep the commands' bytes. index is the entry's place
	// in the group's log; it only grows. The replies are handed on to those who
	// submitted the commands, if they are on this member, and are not changed.
	Apply(index uint64, commands [][]byte) (replies [][]byte)

	// Image cuts the state as it is, in a time that does not grow with the
	// number of entries held, so that it can be written out beside Apply.
	Image() (Image, error)

	// Restore replaces the state by an image that Export wrote, read from r. On
	// an error the state is as before. It blocks as r does.
	Restore(r io.Reader) error
}

// Image is a state cut by StateMachine.Image.
type Image interface {
	// Export writes the image. It runs beside Apply and blocks as w does.
	Export(w io.Writer) error
	// Close ends the use of the image.
	Close()
}
