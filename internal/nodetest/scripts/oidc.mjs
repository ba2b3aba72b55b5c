// A strict authorization server: PKCE is required, redirect addresses are compared exactly, refresh tokens are rotated, and
// one that is used twice ends its grant. Arguments: the client's id, its secret, its redirect address, and for how many
// seconds access tokens last. GET /test/stats says what happened so far.
import Provider from 'oidc-provider';

const [clientID, clientSecret, redirect, lasts] = process.argv.slice(2);

// Everything is kept: the library's own adapter forgets after a thousand entries, and with them that a token was used.
const kept = new Map();
class Adapter {
  constructor(name) { this.name = name; }
  key(id) { return `${this.name}:${id}`; }
  async upsert(id, payload) { kept.set(this.key(id), payload); }
  async find(id) { return kept.get(this.key(id)); }
  async findByUid(uid) { return [...kept.values()].find((p) => p.uid === uid && p.kind === this.name); }
  async findByUserCode() { return undefined; }
  async destroy(id) { kept.delete(this.key(id)); }
  async consume(id) { kept.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async revokeByGrantId(grant) {
    for (const [key, p] of kept) if (p.grantId === grant) kept.delete(key);
  }
}

const stats = { refreshed: 0, reused: 0, revoked: 0, errors: [] };
let provider;

async function main() {
  const { createServer } = await import('node:http');
  const server = createServer((req, res) => provider.callback()(req, res));
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const issuer = `http://127.0.0.1:${server.address().port}`;
  provider = new Provider(issuer, {
    adapter: Adapter,
    clients: [{
      client_id: clientID, client_secret: clientSecret, redirect_uris: [redirect],
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
    }],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async () => true,
    scopes: ['openid', 'profile', 'offline_access'],
    claims: { openid: ['sub'], profile: ['name'] },
    findAccount: async (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id, name: `Account ${id}` }) }),
    features: { devInteractions: { enabled: true }, revocation: { enabled: true } },
    ttl: { AccessToken: Number(lasts), RefreshToken: 86400, Grant: 86400, Session: 86400, Interaction: 3600, AuthorizationCode: 60 },
    cookies: { keys: ['only for tests'] },
    // It is only asked over loopback.
    clientBasedCORS: () => false,
  });
  provider.use(async (ctx, next) => {
    if (ctx.path === '/test/stats') {
      ctx.body = stats;
      return;
    }
    await next();
  });
  provider.on('grant.success', (ctx) => { if (ctx.oidc.params.grant_type === 'refresh_token') stats.refreshed += 1; });
  provider.on('grant.error', (ctx, err) => {
    stats.errors.push(`${err.message}: ${err.error_detail ?? err.error_description ?? ''}`);
    if (/already used/.test(err.error_detail ?? '')) stats.reused += 1;
  });
  provider.on('grant.revoked', () => { stats.revoked += 1; });
  console.log(`ready ${issuer}`);
}

await main();
