// A strict OpenID provider with a page of its own, on which people say who they are: nobody is asked for a password. Arguments:
// the client's id, its secret, its redirect address, and the people as JSON: {"ann": {"email": "…", "groups": ["…"]}}. PKCE is
// required, redirect addresses are compared exactly, claims other than sub are given out at the userinfo endpoint, and answers
// name the issuer.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [clientID, clientSecret, redirect, people] = process.argv.slice(2);
const accounts = JSON.parse(people);

let provider;
const server = createServer((req, res) => {
  const uid = /^\/interaction\/([\w-]+)$/.exec(req.url)?.[1];
  if (uid) return interaction(req, res).catch((err) => { res.writeHead(500); res.end(String(err)); });
  if (req.url === '/favicon.ico') { res.writeHead(204); return res.end(); }
  return provider.callback()(req, res);
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;

async function interaction(req, res) {
  const { prompt, params } = await provider.interactionDetails(req, res);
  if (req.method === 'GET') {
    res.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' });
    res.end(`<!doctype html><html lang="en"><title>Sign in</title><h1>Who are you?</h1><form method="post"><label>Name <input id="login" name="login"></label>
      <button id="go" name="go" value="yes">Go on</button> <button id="cancel" name="go" value="no">Cancel</button></form>`);
    return;
  }
  const parts = [];
  for await (const part of req) parts.push(part);
  const form = new URLSearchParams(Buffer.concat(parts).toString());
  if (form.get('go') === 'no') {
    await provider.interactionFinished(req, res, { error: 'access_denied', error_description: 'said no' });
    return;
  }
  const accountId = form.get('login');
  if (prompt.name !== 'login' || !accounts[accountId]) throw new Error(`${prompt.name} of ${accountId} for ${params.client_id}`);
  await provider.interactionFinished(req, res, { login: { accountId, remember: false } });
}

provider = new Provider(issuer, {
  clients: [{
    client_id: clientID, client_secret: clientSecret, redirect_uris: [redirect], grant_types: ['authorization_code'], response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_basic',
  }],
  pkce: { required: () => true },
  scopes: ['openid', 'profile', 'email'],
  claims: { openid: ['sub'], profile: ['name', 'groups'], email: ['email', 'email_verified'] },
  findAccount: async (ctx, id) => accounts[id] && { accountId: id, claims: async () => ({ sub: id, ...accounts[id] }) },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (ctx, { uid }) => `/interaction/${uid}` },
  // People are not asked what may be said of them.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid profile email');
    await grant.save();
    return grant;
  },
  cookies: { keys: ['only for tests'] },
  clientBasedCORS: () => false,
});
provider.on('server_error', (ctx, err) => console.log('server_error', err));
provider.on('authorization.error', (ctx, err) => console.log('authorization.error', err.message, err.error_description));
provider.on('grant.error', (ctx, err) => console.log('grant.error', err.message, err.error_detail ?? err.error_description));
console.log(`ready ${issuer}`);
