// A real AT Protocol network for tests/real/test_real_bluesky.py: `node atproto_network.mjs`, with ATPROTO_DEV_ENV naming
// the folder where @atproto/dev-env is installed, and DB_POSTGRES_URL and REDIS_HOST for the index. Prints one line of
// JSON when it is up, and ends when its standard input does.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const module = join(process.env.ATPROTO_DEV_ENV, 'node_modules/@atproto/dev-env/dist/index.js')
const { TestNetwork } = await import(pathToFileURL(module))
const network = await TestNetwork.create({ dbPostgresSchema: 'gateway_real' })

async function account(name) {
  const body = { handle: `${name}.test`, email: `${name}@example.com`, password: `${name}-password` }
  const response = await fetch(`${network.pds.url}/xrpc/com.atproto.server.createAccount`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const made = await response.json()
  if (!response.ok) throw new Error(JSON.stringify(made))
  return { did: made.did, handle: body.handle, password: body.password }
}

const accounts = { acme: await account('acmecare'), rita: await account('rita') }
console.log(JSON.stringify({ url: network.pds.url, ...accounts }))
process.stdin.resume()
process.stdin.on('end', async () => {
  await network.close()
  process.exit(0)
})
