package outbound

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/patchbay/patchbay/integration"
)

// The bounds of an answer. Its body is bounded by integration.MaxResponse.
const (
	maxHead    = 64 << 10
	maxTrailer = 2 << 10
	maxFields  = 256
	maxInterim = 8 // answers with a status of 1xx before the real one
	// firstBody is how much is allocated for a body before any of it has come, whatever length it announces.
	firstBody = 4 << 10
	// maxChunkLine bounds the line before each chunk, extensions included.
	maxChunkLine = 256
)

// answer is a response while it is read.
type answer struct {
	integration.Response
	// reusable says that the connection is at the start of the next answer.
	reusable bool
	framing
}

// framing is what the header says about the body's length.
type framing struct {
	length  int64 // -1: not said
	chunked bool
	close   bool // the connection ends after this answer
	date    string
	retry   string
}

// readAnswer reads one answer to a request with the given method, its body up to limit bytes. scratch is memory to use
// for the header; it comes back, perhaps grown. started says whether any byte of an answer came.
func readAnswer(br *bufio.Reader, scratch []byte, method string, limit int, mem *budget) (a *answer, scratched []byte, started bool, err error) {
	if _, err := br.Peek(1); err != nil {
		return nil, scratch, false, orClosed(err, errClosedEarly)
	}
	left := maxHead
	for interim := 0; ; interim++ {
		scratch, err = readBlock(br, scratch[:0], &left)
		if err != nil {
			return nil, scratch, true, err
		}
		if a, err = parseHead(string(scratch)); err != nil {
			return nil, scratch, true, err
		}
		if a.Status >= 200 {
			break
		}
		if a.Status == 101 {
			return nil, scratch, true, errUpgraded
		}
		if interim == maxInterim {
			return nil, scratch, true, errGarbled
		}
	}
	if err := a.readBody(br, method, limit, mem); err != nil {
		return nil, scratch, true, err
	}
	// Anything behind the answer belongs to nothing that was asked: the next request must not take it for its own.
	a.reusable = a.reusable && !a.close && br.Buffered() == 0
	return a, scratch, true, nil
}

// readBlock reads lines up to and including an empty one and appends them to b, without the empty one.
func readBlock(br *bufio.Reader, b []byte, left *int) ([]byte, error) {
	start := 0
	for {
		part, err := br.ReadSlice('\n')
		if *left -= len(part); *left < 0 {
			return b, errHeaderTooLong
		}
		b = append(b, part...)
		switch {
		case err == nil:
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		default:
			return b, orClosed(err, errClosedMidway)
		}
		if line := b[start:]; len(line) == 1 || len(line) == 2 && line[0] == '\r' {
			return b[:start], nil
		}
		start = len(b)
	}
}

// orClosed says how the connection ended, and leaves other errors alone.
func orClosed(err error, closed *failure) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return closed
	}
	return err
}

// parseHead reads a status line and the fields after it. The answer's strings are parts of block.
func parseHead(block string) (*answer, error) {
	line, rest := cutLine(block)
	a := &answer{framing: framing{length: -1}}
	minor, status, ok := parseStatus(line)
	if !ok {
		return nil, errGarbled
	}
	a.Status = status
	a.close = minor == 0 // keeping an HTTP/1.0 connection is not worth reading its Keep-Alive
	n := strings.Count(rest, "\n")
	if n > maxFields {
		return nil, errHeaderTooLong
	}
	a.Header = make(integration.Header, 0, n)
	for rest != "" {
		line, rest = cutLine(rest)
		name, value, found := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !found || !isToken(name) || !isFieldValue(value) {
			return nil, errGarbled
		}
		a.Header = append(a.Header, integration.HeaderField{Name: name, Value: value})
		if err := a.frame(name, value, minor); err != nil {
			return nil, err
		}
	}
	if a.chunked && a.length >= 0 {
		return nil, errAmbiguous
	}
	return a, nil
}

// cutLine takes a line off; a bare line feed ends one too, as RFC 9112 allows.
func cutLine(s string) (line, rest string) {
	line, rest, _ = strings.Cut(s, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

// parseStatus reads "HTTP/1.1 200 OK"; the reason may be missing.
func parseStatus(line string) (minor, status int, ok bool) {
	const form = "HTTP/1.1 200"
	if len(line) < len(form) || line[:7] != form[:7] || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return 0, 0, false
	}
	for _, c := range []byte(line[9:12]) {
		if c < '0' || c > '9' {
			return 0, 0, false
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 || len(line) > len(form) && line[len(form)] != ' ' || !isFieldValue(line) {
		return 0, 0, false
	}
	return int(line[7] - '0'), status, true
}

// frame takes note of a field that says where the answer ends, and of those that the client reads itself.
func (a *answer) frame(name, value string, minor int) error {
	switch len(name) {
	case len("date"):
		if strings.EqualFold(name, "date") {
			a.date = value
		}
	case len("connection"):
		if strings.EqualFold(name, "connection") && hasToken(value, "close") {
			a.close = true
		}
	case len("retry-after"):
		if strings.EqualFold(name, "retry-after") {
			a.retry = value
		}
	case len("content-length"):
		if !strings.EqualFold(name, "content-length") {
			return nil
		}
		n, ok := parseLength(value)
		if !ok || a.length >= 0 && a.length != n {
			return errAmbiguous
		}
		a.length = n
	case len("transfer-encoding"):
		if !strings.EqualFold(name, "transfer-encoding") {
			return nil
		}
		if a.chunked || minor == 0 || !strings.EqualFold(value, "chunked") {
			return errTransfer
		}
		a.chunked = true
	}
	return nil
}

func hasToken(list, token string) bool {
	for list != "" {
		var one string
		one, list, _ = strings.Cut(list, ",")
		if strings.EqualFold(strings.Trim(one, " \t"), token) {
			return true
		}
	}
	return false
}

func parseLength(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// readBody reads the body as far as it is wanted, and says whether all of it was read.
func (a *answer) readBody(br *bufio.Reader, method string, limit int, mem *budget) error {
	if method == "HEAD" || a.Status == 204 || a.Status == 304 {
		a.reusable = true
		return nil
	}
	body := body{limit: limit, mem: mem}
	defer body.release()
	var err error
	switch {
	case a.chunked:
		err = body.readChunks(br)
	case a.length >= 0:
		err = body.read(br, a.length)
	default:
		a.close = true
		err = body.readToEnd(br)
	}
	if err != nil {
		return err
	}
	a.Body, a.Truncated = body.b, body.full
	a.reusable = !body.full
	return nil
}

// body collects what is wanted of a body.
type body struct {
	b     []byte
	limit int
	full  bool // there is more than is wanted
	mem   *budget
	taken int64
}

// read reads n bytes, or as many as are wanted.
func (w *body) read(br *bufio.Reader, n int64) error {
	for n > 0 && !w.full {
		free := w.space(n)
		if len(free) == 0 {
			w.full = true
			return nil
		}
		got, err := br.Read(free)
		w.b = w.b[:len(w.b)+got]
		n -= int64(got)
		if err != nil && n > 0 {
			return orClosed(err, errClosedMidway)
		}
	}
	return nil
}

// readToEnd reads until the connection is closed.
func (w *body) readToEnd(br *bufio.Reader) error {
	for {
		if _, err := br.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := w.read(br, int64(br.Buffered())); err != nil || w.full {
			return err
		}
	}
}

func (w *body) readChunks(br *bufio.Reader) error {
	for {
		n, err := readChunkSize(br)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if err := w.read(br, n); err != nil || w.full {
			return err
		}
		if end, err := br.ReadSlice('\n'); err != nil || string(end) != "\r\n" {
			return chunkError(err)
		}
	}
	return readTrailer(br)
}

// readTrailer reads what may stand behind the last chunk. It is dropped, but it must be fields.
func readTrailer(br *bufio.Reader) error {
	for left := maxTrailer; ; {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return chunkError(err)
		}
		if left -= len(line); left < 0 {
			return errHeaderTooLong
		}
		if string(line) == "\r\n" {
			return nil
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found || !isToken(string(name)) || !bytes.HasSuffix(value, []byte("\r\n")) || !isFieldValue(string(value[:len(value)-2])) {
			return errGarbled
		}
	}
}

// readChunkSize reads the line before a chunk.
func readChunkSize(br *bufio.Reader) (int64, error) {
	line, err := br.ReadSlice('\n')
	if err != nil {
		return 0, chunkError(err)
	}
	if len(line) > maxChunkLine || len(line) < 2 || line[len(line)-2] != '\r' {
		return 0, errGarbled
	}
	size, _, _ := bytes.Cut(line[:len(line)-2], []byte(";"))
	size = bytes.TrimRight(size, " \t")
	if len(size) == 0 || len(size) > 15 {
		return 0, errGarbled
	}
	var n int64
	for _, c := range size {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, errGarbled
		}
		n = n<<4 | int64(c)
	}
	return n, nil
}

func chunkError(err error) error {
	if err == nil || errors.Is(err, bufio.ErrBufferFull) {
		return errGarbled
	}
	return orClosed(err, errClosedMidway)
}

// space returns memory for up to n more bytes; none when no more is wanted or to be had. It grows with what has come,
// never with what was announced: that would let anybody reserve our memory.
func (w *body) space(n int64) []byte {
	want := int(min(n, int64(w.limit-len(w.b))))
	if want == 0 {
		return nil
	}
	if cap(w.b) == len(w.b) {
		size := min(max(2*len(w.b), firstBody), len(w.b)+want)
		if !w.reserve(size) {
			return nil
		}
		grown := make([]byte, len(w.b), size)
		copy(grown, w.b)
		w.b = grown
	}
	return w.b[len(w.b):min(cap(w.b), len(w.b)+want)]
}

// reserve takes memory for a large body from what all exchanges share.
func (w *body) reserve(size int) bool {
	if size <= freeBody || w.taken > 0 {
		return true
	}
	w.taken = int64(w.limit)
	if !w.mem.take(w.taken) {
		w.taken = 0
		return false
	}
	return true
}

func (w *body) release() {
	if w.taken > 0 {
		w.mem.put(w.taken)
	}
}
