package resp

import "slices"

// Command is one request: its arguments, the name first; there is always at
// least one. The bytes belong to the Reader and are overwritten by its next
// call; who keeps them longer clones them.
type Command struct {
	Args [][]byte
}

// Name returns the first argument as the client spelled it.
func (c Command) Name() []byte { return c.Args[0] }

// Size returns the bytes of all arguments together.
func (c Command) Size() int {
	n := 0
	for _, arg := range c.Args {
		n += len(arg)
	}
	return n
}

// Clone returns a copy that shares nothing with the Reader. It costs two
// allocations, whatever the number of arguments.
func (c Command) Clone() Command {
	bytes := make([]byte, 0, c.Size())
	args := make([][]byte, len(c.Args))
	for i, arg := range c.Args {
		start := len(bytes)
		bytes = append(bytes, arg...)
		args[i] = slices.Clip(bytes[start:])
	}
	return Command{Args: args}
}
