package lastgood

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Schema is the version of the format. Fields that are added do not raise it: an older brambled reads what it knows, and loses
// nothing that it needs.
const Schema = 1

const magic = "brambled-lastgood"

// ErrDamaged is a file that is not what was written.
var ErrDamaged = errors.New("damaged")

// NewerError is a sound file of a schema that this brambled does not know.
type NewerError struct{ Schema int }

// Error implements error.
func (e *NewerError) Error() string {
	return fmt.Sprintf("written by a newer brambled (schema %d, this one knows %d)", e.Schema, Schema)
}

// header is the first line of a file.
type header struct {
	schema     int
	generation uint64
	length     int
}

// text is the line without the checksum, which covers it.
func (h header) text() string {
	return fmt.Sprintf("%s %d %d %d", magic, h.schema, h.generation, h.length)
}

func (h header) sum(body []byte) string {
	sum := sha256.New()
	sum.Write([]byte(h.text()))
	sum.Write([]byte{'\n'})
	sum.Write(body)
	return hex.EncodeToString(sum.Sum(nil))
}

// Encode returns a state as the contents of a file, without a generation.
func Encode(s State) ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode last-known-good: %w", err)
	}
	return seal(body, header{schema: Schema}), nil
}

// seal puts the header before a body.
func seal(body []byte, h header) []byte {
	h.length = len(body)
	return append([]byte(h.text()+" "+h.sum(body)+"\n"), body...)
}

// Decode reads the contents of a file. The error is [ErrDamaged] or a [NewerError].
func Decode(data []byte) (State, error) {
	s, _, err := decode(data)
	return s, err
}

func decode(data []byte) (State, header, error) {
	h, body, err := open(data)
	if err != nil {
		return State{}, h, err
	}
	if h.schema > Schema {
		return State{}, h, &NewerError{h.schema}
	}
	var s State
	if err := json.Unmarshal(body, &s); err != nil {
		return State{}, h, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	s.sort()
	return s, h, nil
}

// open checks the header and the checksum. They have the same form in every schema, so that a card's error is never taken for
// a newer version.
func open(data []byte) (header, []byte, error) {
	var h header
	line, body, found := bytes.Cut(data, []byte{'\n'})
	if !found {
		return h, nil, fmt.Errorf("%w: it has no header", ErrDamaged)
	}
	head, sum, _ := cutLast(string(line), " ")
	if _, err := fmt.Sscanf(head, magic+" %d %d %d", &h.schema, &h.generation, &h.length); err != nil || head != h.text() || h.schema < 1 {
		return h, nil, fmt.Errorf("%w: its header is not one of last-known-good", ErrDamaged)
	}
	if len(body) != h.length {
		return h, nil, fmt.Errorf("%w: it has %d bytes and should have %d", ErrDamaged, len(body), h.length)
	}
	if h.sum(body) != sum {
		return h, nil, fmt.Errorf("%w: its checksum does not match", ErrDamaged)
	}
	return h, body, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
