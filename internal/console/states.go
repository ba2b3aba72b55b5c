package console

import "github.com/patchbay/patchbay"

// Look is how a state is shown.
type Look struct {
	Sign  string
	Style Style
}

// DeliveryLook returns how a delivery's state is shown.
func DeliveryLook(s patchbay.DeliveryState) Look {
	switch s {
	case patchbay.DeliverySucceeded:
		return Look{"✓", Green}
	case patchbay.DeliveryFailed:
		return Look{"✗", Red}
	case patchbay.DeliveryPending:
		return Look{"↻", Yellow}
	case patchbay.DeliveryHeld:
		return Look{"‖", Blue}
	case patchbay.DeliveryCancelled, patchbay.DeliverySkipped:
		return Look{"–", Dim}
	}
	return Look{"?", Plain}
}

// VerdictLook returns how an attempt's verdict is shown.
func VerdictLook(v patchbay.Verdict) Look {
	switch v {
	case patchbay.VerdictDelivered:
		return Look{"✓", Green}
	case patchbay.VerdictRetry:
		return Look{"↻", Yellow}
	}
	return Look{"✗", Red}
}

// LinkLook returns how a link's state is shown.
func LinkLook(s patchbay.LinkState) Look {
	switch s {
	case patchbay.LinkActive:
		return Look{"✓", Green}
	case patchbay.LinkPaused:
		return Look{"‖", Blue}
	case patchbay.LinkDisabled:
		return Look{"✗", Red}
	}
	return Look{"…", Yellow}
}

// ConnectionLook returns how a connection's state is shown.
func ConnectionLook(s patchbay.ConnectionState) Look {
	switch s {
	case patchbay.ConnectionActive:
		return Look{"✓", Green}
	case patchbay.ConnectionNeedsReauth:
		return Look{"✗", Red}
	}
	return Look{"!", Yellow}
}

// Paint gives text the look's style, after its sign.
func (l Look) Paint(c *Console, text string) string { return c.Paint(l.Style, l.Sign+" "+text) }
