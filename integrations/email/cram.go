package email

import (
	"crypto/hmac"
	"crypto/md5" // which the mechanism prescribes
	"encoding/base64"
	"encoding/hex"
	"errors"
)

// cramMD5 proves that we know the password without sending it (RFC 2195).
func (s *session) cramMD5() error {
	challenge, err := s.command(334, "AUTH CRAM-MD5")
	if err != nil {
		return err
	}
	text, err := base64.StdEncoding.DecodeString(challenge)
	if err != nil {
		return errors.New("the server's challenge cannot be read")
	}
	mac := hmac.New(md5.New, []byte(s.srv.Password.Reveal()))
	mac.Write(text)
	_, err = s.command(235, "%s", encode(s.srv.Username+" "+hex.EncodeToString(mac.Sum(nil))))
	return err
}
