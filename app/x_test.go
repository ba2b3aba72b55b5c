package app_test
import ("testing";"time";"fmt")
func TestX(t *testing.T){
 b:=time.Now()
 s:=serve(t)
 fmt.Println(time.Since(b))
 p:=newPartner(t)
 fmt.Println(string(s.call("POST","/v1/links",hook(p,"/a",`"events":["*"],"scope":"acme"`)).body))
 id,n:=s.publish(`{"event":"repo.push","scope":"acme","payload":`+s.example("repo.push")+`}`)
 fmt.Println(id,n, string(p.next(t).body)[:100])
 fmt.Println(s.delivered(id))
 fmt.Println(string(s.call("GET","/events","").body)[:1500])
 fmt.Println(string(s.call("GET","/integrations/webhook","").body))
}
