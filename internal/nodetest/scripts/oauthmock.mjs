// A scriptable authorization server. POST /test/next says how it behaves from then on: {"status", "body"} answer token
// requests instead of tokens, {"text", "type"} do so with something that need not be JSON, {"drop": [names]} leaves fields of
// the answer out, {"delay"} waits so many milliseconds before it, {"iss"} goes with the browser's way back. {} ends all of it.
// Of an OpenID provider {"claims"} go into tokens (null takes one out), {"sign"} is how the ID token is signed: "none", "secret"
// (with the client's secret, which is {"secret"}) or "other" (a key that is not the provider's, under the name of one that is),
// {"discovery"} and {"userinfo"} go into those documents.
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { createServer } from 'node:http';
import { Events, OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';

const issuer = new OAuth2Issuer();
await issuer.keys.generate('RS256');
const service = new OAuth2Service(issuer);
let next = {};

service.on(Events.BeforeResponse, (answer) => {
  if (next.body !== undefined) answer.body = next.body;
  if (next.status !== undefined) answer.statusCode = next.status;
  for (const name of next.drop ?? []) delete answer.body[name];
  if (next.sign) answer.body.id_token = resigned(answer.body.id_token, next.sign);
});
service.on(Events.BeforeAuthorizeRedirect, (to) => {
  if (next.iss !== undefined) to.url.searchParams.set('iss', next.iss);
});

const change = (into, by = {}) => {
  for (const [name, value] of Object.entries(by)) {
    if (value === null) delete into[name];
    else into[name] = value;
  }
};
issuer.on('beforeSigning', (token) => change(token.payload, next.claims));
service.on(Events.BeforeUserinfo, (answer) => change(answer.body, next.userinfo));
service.on('beforeWellKnownOpenIdConfiguration', (answer) => change(answer.body, next.discovery));

// resigned returns the token with the same content under another signature.
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
function resigned(token, how) {
  const [head, payload] = token.split('.');
  const { kid } = JSON.parse(Buffer.from(head, 'base64url'));
  const said = (alg) => `${Buffer.from(JSON.stringify({ alg, kid, typ: 'JWT' })).toString('base64url')}.${payload}`;
  switch (how) {
    case 'none': return `${said('none')}.`;
    case 'secret': return `${said('HS256')}.${createHmac('sha256', next.secret).update(said('HS256')).digest('base64url')}`;
    default: return `${said('RS256')}.${sign('sha256', Buffer.from(said('RS256')), privateKey).toString('base64url')}`;
  }
}

async function body(req) {
  const parts = [];
  for await (const part of req) parts.push(part);
  return Buffer.concat(parts).toString();
}

const server = createServer(async (req, res) => {
  if (req.url === '/test/next') {
    next = JSON.parse(await body(req));
    res.end();
    return;
  }
  if (req.url === '/token') {
    if (next.delay) await new Promise((done) => setTimeout(done, next.delay));
    if (next.text !== undefined) {
      res.writeHead(next.status ?? 200, { 'Content-Type': next.type ?? 'application/json' });
      res.end(next.text);
      return;
    }
  }
  service.requestHandler(req, res);
});
server.listen(0, '127.0.0.1', () => {
  issuer.url = `http://127.0.0.1:${server.address().port}`;
  console.log(`ready ${issuer.url}`);
});
