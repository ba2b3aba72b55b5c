// A server that says which Node runs it.
import { createServer } from 'node:http'

const server = createServer((_, res) => res.end(process.version))
server.listen(0, '127.0.0.1', () => console.log(`ready http://127.0.0.1:${server.address().port}`))
