package msgp_test

import (
	"fmt"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// An entry is taken in, looked into and changed without ever being decoded.
func Example() {
	posted := []byte(`{"row": 27, "price": 89.50, "block": "south-12"}`)
	entry, err := msgp.FromJSON(nil, posted)
	if err != nil {
		fmt.Println(err)
		return
	}
	price, _ := msgp.Field(entry, "price")
	if msgp.Compare(price, msgp.AppendInt(nil, 90)) < 0 {
		entry, err = msgp.SetField(nil, entry, "sold", msgp.AppendBool(nil, true))
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := msgp.AppendJSON(nil, entry)
	fmt.Printf("%s %v\n", text, err)
	// Output: {"row":27,"sold":true,"block":"south-12","price":89.5} <nil>
}
