package web

import (
	"html/template"

	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/audit"
)

// navGroup are pages that belong together.
type navGroup struct {
	Title string
	Items []navItem
}

// navItem is a page of the navigation; Key is what page.Nav says when the reader is there, or somewhere below it.
type navItem struct {
	Key, Title, Href string
	Icon             template.HTML
}

// navigation is where operators can go, in the order in which they need it.
func navigation() []navGroup {
	return []navGroup{
		{"What happens", []navItem{
			{"overview", "Overview", "/", icon(`<path d="M3 13h4l3-9 4 16 3-7h4"/>`)},
			{"events", "Events", "/events", icon(`<path d="M4 6h16M4 12h16M4 18h9"/>`)},
			{"deliveries", "Deliveries", "/deliveries", icon(`<path d="M4 12 20 4l-6 16-3-7-7-1z"/>`)},
			{"jobs", "Jobs", "/jobs", icon(`<path d="M4 5h16v4H4zM4 15h16v4H4zM8 9v6m8-6v6"/>`)},
			{"inbox", "Inbox", "/inbox", icon(`<path d="M4 13 6.5 5h11L20 13v6H4zM4 13h4.5l1.5 3h4l1.5-3H20"/>`)},
			{"hooks", "Hooks", "/hooks", icon(`<path d="M12 3v8m0 0 4-4m-4 4L8 7M5 14v3a3 3 0 0 0 3 3h8a3 3 0 0 0 3-3v-3"/>`)},
		}},
		{"What is set up", []navItem{
			{"settings", "Links", "/links", icon(`<path d="M9.5 14.5l5-5M8 11l-2.5 2.5a3.9 3.9 0 0 0 5.5 5.5L13.5 16.5M16 13l2.5-2.5A3.9 3.9 0 0 0 13 5l-2.5 2.5"/>`)},
			{"connections", "Connections", "/connections", icon(`<path d="M12 3v5M7 8h10v4a5 5 0 0 1-10 0zM12 17v4M9 3v5M15 3v5"/>`)},
			{"integrations", "Integrations", "/integrations", icon(`<path d="M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM16.5 13v7M13 16.5h7"/>`)},
			{"catalog", "Catalog", "/catalog", icon(`<path d="M5 4.5h10a4 4 0 0 1 4 4v11H9a4 4 0 0 1-4-4zM5 15.5a4 4 0 0 1 4-4h10M9 8h6"/>`)},
			{"playground", "Playground", "/playground", icon(`<path d="M6 4l13 8-13 8zM6 4v16"/>`)},
		}},
		{"Who and how", []navItem{
			{"keys", "Keys", "/keys", icon(`<path d="M8 11.5a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM11 12.5 19 4.5M15.5 8l3 3M13 10.5l2 2"/>`)},
			{"audit", "Audit", "/audit", icon(`<path d="M7 3h7l4 4v14H7zM14 3v4h4M10 12h5M10 16h5"/>`)},
			{"installation", "Settings", "/installation", icon(`<path d="M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5"/>`)},
		}},
	}
}

// adminPages are those that administrators see alone.
var adminPages = map[string]bool{"keys": true, "installation": true}

// Shows reports whether the navigation leads whoever looks to a page.
func (p *page) Shows(key string) bool {
	if key == "audit" {
		return audit.May(p.caller)
	}
	return !adminPages[key] || p.caller.May(access.Admin)
}

// icon is a picture of 24 by 24 in the colour of the text around it. It says nothing that the text does not.
func icon(paths template.HTML) template.HTML {
	return `<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">` +
		paths + `</svg>`
}
