package patchbay

// Severity is how grave a message is.
type Severity string

// The severities, from mild to grave.
const (
	SeverityInfo     Severity = "info"
	SeveritySuccess  Severity = "success"
	SeverityWarning  Severity = "warning"
	SeverityError    Severity = "error"
	SeverityCritical Severity = "critical"
)

// Valid reports whether s is one of the five severities.
func (s Severity) Valid() bool {
	switch s {
	case SeverityInfo, SeveritySuccess, SeverityWarning, SeverityError, SeverityCritical:
		return true
	}
	return false
}

// Status is what a message says of the matter that its thread is about.
type Status string

// The statuses; a message may have none.
const (
	StatusOpen         Status = "open"
	StatusAcknowledged Status = "acknowledged"
	StatusResolved     Status = "resolved"
)

// Valid reports whether s is empty or one of the three statuses.
func (s Status) Valid() bool {
	return s == "" || s == StatusOpen || s == StatusAcknowledged || s == StatusResolved
}

// MaxThreadLength bounds Message.Thread, in bytes. It is the length of a Jira label.
const MaxThreadLength = 255

// Markdown is text in a small Markdown: paragraphs, line breaks, emphasis, strong, code, links, lists, block quotes,
// code blocks. Values taken from an event stand in it escaped, so nothing in them is markup.
type Markdown string

// Message is an event as it reads to a person, before any partner's format.
type Message struct {
	// Title is one line of plain text.
	Title    string   `json:"title"`
	Text     Markdown `json:"text,omitempty"`
	Severity Severity `json:"severity"`
	Fields   []Field  `json:"fields,omitempty"`
	Links    []URL    `json:"links,omitempty"`
	Actor    *Actor   `json:"actor,omitempty"`
	// Thread names what this is about; messages of one thread belong together. Plain text, one line.
	Thread string `json:"thread,omitempty"`
	Status Status `json:"status,omitempty"`
	// Labels are for partners that have labels. Where Thread serves as a label it stands before them.
	Labels []string `json:"labels,omitempty"`
}

// Field is a titled value of a message.
type Field struct {
	// Title is plain text.
	Title string `json:"title"`
	// Value is inline Markdown.
	Value Markdown `json:"value"`
	// Short fields may share a line.
	Short bool `json:"short,omitempty"`
}

// URL is a link of a message. Its address is http or https.
type URL struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

// Actor is who did what a message tells.
type Actor struct {
	Name   string `json:"name"`
	Avatar string `json:"avatar,omitempty"`
	URL    string `json:"url,omitempty"`
}
