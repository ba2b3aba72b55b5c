package inbound

import (
	"fmt"
	"testing"
)

// TestKnownAddressesLeaveRoom proves that whoever keeps every integration's own address busy, which anybody can, keeps no call
// to a link's address out.
func TestKnownAddressesLeaveRoom(t *testing.T) {
	var p places
	in := 0
	for i := range 8 {
		for range callsPlace + 1 {
			if p.enter(fmt.Sprint("integration ", i), true) {
				in++
			}
		}
	}
	if in != callsKnown {
		t.Errorf("%d calls to known addresses are in", in)
	}
	for range callsPlace {
		if !p.enter("a link", false) {
			t.Fatal("a link's own address is kept out")
		}
	}
	if p.enter("a link", false) {
		t.Error("one address takes everything")
	}
	p.leave("integration 0", true)
	if !p.enter("integration 7", true) {
		t.Error("who leaves makes no room")
	}
}
