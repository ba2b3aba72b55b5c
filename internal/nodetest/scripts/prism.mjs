// A mock of an API, made by Prism from its OpenAPI description. Requests that break the description are answered with a
// header "sl-violations". Arguments: the description's path below node_modules, then the operations that are mocked, as
// "GET /user". Descriptions can be large: only what these operations refer to is kept, so that Prism starts soon.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { getHttpOperationsFromSpec } = require('@stoplight/prism-http')
const { createServer } = require('@stoplight/prism-http-server')
const { createLogger } = require('@stoplight/prism-core')

const [file, ...wanted] = process.argv.slice(2)
const whole = JSON.parse(readFileSync(require.resolve(file), 'utf8'))
const small = { openapi: whole.openapi, info: whole.info, servers: whole.servers, paths: {}, components: {} }
const shared = ['parameters', 'servers', 'summary', 'description']

for (const operation of wanted) {
  const [method, path] = operation.split(' ')
  const item = whole.paths[path]
  if (!item?.[method.toLowerCase()]) throw new Error(`${file} has no operation ${operation}`)
  const kept = (small.paths[path] ??= Object.fromEntries(shared.filter((key) => item[key]).map((key) => [key, item[key]])))
  kept[method.toLowerCase()] = item[method.toLowerCase()]
}

// Everything that is referred to, and what that refers to.
const todo = [small.paths]
while (todo.length > 0) {
  const value = todo.pop()
  if (value === null || typeof value !== 'object') continue
  if (typeof value.$ref === 'string' && value.$ref.startsWith('#/components/')) {
    const [kind, name] = value.$ref.slice('#/components/'.length).split('/')
    if (small.components[kind]?.[name] === undefined) {
      ;(small.components[kind] ??= {})[name] = whole.components[kind][name]
      todo.push(whole.components[kind][name])
    }
  }
  todo.push(...Object.values(value))
}

// GitHub, for one, shows answers that break its own description: only what is asked is checked.
const operations = await getHttpOperationsFromSpec(small)
const server = createServer(operations, {
  cors: false,
  components: { logger: createLogger('prism', { level: 'warn' }, process.stderr) },
  config: {
    isProxy: false, validateRequest: true, validateResponse: false, checkSecurity: true, errors: true,
    mock: { dynamic: false },
  },
})
console.log(`ready ${await server.listen(0, '127.0.0.1')}`)
