// A scriptable authorization server. POST /test/next says how it behaves from then on: {"status", "body"} answer token
// requests instead of tokens, {"text", "type"} do so with something that need not be JSON, {"drop": [names]} leaves fields of
// the answer out, {"delay"} waits so many milliseconds before it, {"iss"} goes with the browser's way back. {} ends all of it.
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
});
service.on(Events.BeforeAuthorizeRedirect, (to) => {
  if (next.iss !== undefined) to.url.searchParams.set('iss', next.iss);
});

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
