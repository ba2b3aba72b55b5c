package email

const docs = `# E-mail

Sends each event as a mail over SMTP: HTML with a plain text beside it. Mails about the same thing (one test run, one
pull request) answer each other, so mail programs show them as one conversation.

## Set it up

If the installation has a mail server, **To** is all that a link needs. Otherwise, or to send from your own domain,
fill in the server of your mail provider: **Mail server**, **User name**, **Password** and **Sender's address**. The
provider's pages call them its SMTP settings. Then send a test.

## Settings

| setting | |
|---|---|
| ` + "`to`" + ` | Who gets the mail: a list of addresses, such as ` + "`ops@example.com`" + ` or ` + "`Ops <ops@example.com>`" + `. Required. |
| ` + "`cc`, `bcc`" + ` | Who gets a copy, seen by everybody or by nobody. All three together: at most 100 people. |
| ` + "`subject_prefix`" + ` | Stands before the title in every subject. |
| ` + "`reply_to`" + ` | Where answers go. |
| ` + "`host`, `port`" + ` | Your mail server. Without a port: 587, with TLS from the start 465, without encryption 25. |
| ` + "`encryption`" + ` | ` + "`starttls`" + ` (also when empty): begins in the clear and switches to TLS before anything is said that matters; a server that cannot gets nothing. ` + "`tls`" + `: TLS from the first byte. ` + "`none`" + `: passwords and mails can be read on the way; only for a server on your own network. |
| ` + "`username`, `password`" + ` | How to sign in (PLAIN, LOGIN or CRAM-MD5). Without a user name nobody signs in. |
| ` + "`from`, `from_name`" + ` | The sender. The address is required with a server of your own; the name may also be set with the installation's. |

A link that names a ` + "`host`" + ` uses its own server, user name, password and sender, and nothing of the
installation's; a link that names none uses the installation's. When you change the server, give the password again.

The operator sets the installation's server in ` + "`patchbay.yaml`" + `:

` + "```yaml" + `
integrations:
  email:
    host: smtp.example.com
    username: patchbay
    password: "…"
    from: patchbay@example.com
    from_name: Patchbay
` + "```" + `

## What a mail looks like

The subject is the prefix and the event's title. The mail has a bar in the color of the event's severity, the title,
who did it, the text, the fields as a table, and links as buttons. What comes out of an event is always text. A mail
about something critical is marked as important. Its ` + "`Message-ID`" + ` is made from the delivery, so a mail that
had to be sent twice can be recognised, and ` + "`Auto-Submitted`" + ` keeps out-of-office programs from answering.

A link's own body (` + "`body`" + `) replaces the content: text, or an object with ` + "`subject`" + ` and ` + "`text`" + `.
Such mails have no HTML.

## When something goes wrong

| the server says | what happens |
|---|---|
| 4yz, such as 421 or 450; no answer; the connection breaks | It is tried again. |
| 4yz with a code 4.7.x | The link waits: the server limits how much may be sent. |
| 530, 534, 535 | The delivery fails: check user name and password. |
| 550, 551, 553, 554 | The delivery fails: the server takes no mail for this recipient, or none from this sender. |
| 552 | The delivery fails: the mail is too large (or, with a code 5.2.x, the mailbox is full). |
| a certificate that is not valid, no STARTTLS | The delivery fails, and nothing was sent: correct host, port or encryption. |

If the server takes the mail for some recipients and refuses others, it counts as delivered, and the attempt says who
was refused and why. Trying again would send it twice to the others.
`
