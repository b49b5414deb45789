import torch,time,sys
from transformers import LlamaConfig,LlamaForCausalLM
torch.set_num_threads(2)
D,L,I,H=[int(x) for x in sys.argv[1].split(",")]; mode=sys.argv[2]; T=int(sys.argv[3]); B=int(sys.argv[4])
cfg=LlamaConfig(vocab_size=2048,hidden_size=D,intermediate_size=I,num_hidden_layers=L,num_attention_heads=H,num_key_value_heads=H,tie_word_embeddings=True,attn_implementation="sdpa")
m=LlamaForCausalLM(cfg); print("params",sum(p.numel() for p in m.parameters())/1e6)
opt=torch.optim.AdamW(m.parameters(),lr=1e-3,fused=True)
inner=m.model
if "c" in mode: inner=torch.compile(m.model)
def step():
    x=torch.randint(0,2048,(B,T)); k=torch.rand(B,T)<.3
    with torch.autocast("cpu",dtype=torch.bfloat16,enabled="b" in mode):
        h=inner(x,use_cache=False).last_hidden_state
        lg=m.lm_head(h[k])
    l=torch.nn.functional.cross_entropy(lg.float(),x[k]); l.backward(); opt.step(); opt.zero_grad()
for _ in range(3): step()
t=time.time(); n=8
for _ in range(n): step()
print(sys.argv[1:],"tok/s",n*B*T/(time.time()-t))
